"""The ladder of models: shares against direct sums, controls, samples, and kernels on which a step has no form."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting.ladder_steps import Difference, Sample, steps_of
from scalekeys.scalespace import template


def fits_of(bank):
    return sk.fit(bank), sk.fit(sk.white_noise_like(bank)), sk.fit(sk.matched_noise_like(bank))


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(names, count, size):
    scales = 0.7 + 0.6 * torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    filters = [sum(template(name, scale, size) for name in names) for scale in scales]
    return torch.stack([one / one.norm() for one in filters])


@pytest.fixture(scope="module")
def small():
    layers = (LayerFilters("a", noise(0, 7, 5, 5)), LayerFilters("b", 100 * noise(1, 9, 5, 5), depth=1))
    bank = FilterBank(layers, model="small")
    fits = fits_of(bank)
    return fits, sk.ladder(*fits)


def test_a_whole_sample_gives_the_shares_of_the_fits(small):
    fits, found = small
    ideal, second, jet, _ = found.network.steps
    others = [(sk.fit(fits[0].bank, name), fits[0].r2) for name in ("second-order", "jet2")]
    assert ideal.explained.filters == pytest.approx(fits[0].share_explained, abs=1e-5)
    assert ideal.explained.white == pytest.approx(fits[1].share_explained, abs=1e-5)
    assert ideal.explained.matched == pytest.approx(fits[2].share_explained, abs=1e-5)
    for step, (other, _) in zip((second, jet), others, strict=True):
        assert step.alone.filters == pytest.approx(other.share_explained, abs=1e-5)
    best = np.maximum(fits[0].r2.numpy(), others[0][0].r2.numpy())
    energy = np.concatenate([layer.kernels.double().flatten(1).var(1).numpy() for layer in fits[0].bank])
    assert second.explained.filters == pytest.approx(float((best * energy).sum() / energy.sum()), abs=1e-5)


def test_steps_only_rise_and_their_gains_add_up(small):
    for group in (small[1].network, *small[1].layers):
        for kind in ("filters", "matched", "white"):
            explained = [getattr(step.explained, kind) for step in group.steps]
            assert explained == sorted(explained)
            assert sum(getattr(step.gain, kind) for step in group.steps) == pytest.approx(explained[-1], abs=1e-5)
        for before, step in zip(group.steps, group.steps[1:], strict=False):
            part = step.gain.filters / (1 - before.explained.filters)
            assert step.part_of_rest.filters == pytest.approx(part, abs=1e-4)


@pytest.mark.parametrize(("layers", "filters"), [(1, 10), (8, 6)])
def test_an_interval_misses_about_one_time_in_twenty(layers, filters):
    draw = np.random.default_rng(0)
    missed, count = 0, layers * filters
    for _ in range(60):
        shares = draw.beta(2, 3, (3, 3, count))  # filters and both kinds of noise alike
        weight = np.repeat(draw.lognormal(0, 1, layers), filters) * draw.lognormal(0, 0.5, count)
        sample = Sample(np.repeat(np.arange(layers), filters), weight, shares, np.ones((3, count), int))
        missed += sum(step.beyond_matched.word != "no more" for step in steps_of(sample, 0))
    assert 0.01 < missed / 180 < 0.12


def test_second_derivatives_are_found_beyond_noise_by_their_step_and_first_ones_are_not():
    mixed = planted(["dxy"], 16, (7, 7)) + 0.02 * noise(1, 16, 7, 7)
    plain = planted(["dx"], 16, (7, 7)) + 0.02 * noise(2, 16, 7, 7)
    for filters, word in ((mixed, "more"), (plain, "no more")):
        steps = sk.ladder(*fits_of(FilterBank.from_tensor(filters))).network.steps
        assert (steps[1].gain.filters > 0.3) == (word == "more")
        assert (steps[1].beyond_white.word == "more") == (word == "more")


def test_the_sample_stands_for_the_filters_left_out():
    filters = torch.cat([planted(["smooth"], 200, (5, 5)), noise(0, 200, 5, 5) / 5])
    bank = FilterBank((LayerFilters("a", filters), LayerFilters("b", noise(1, 3, 3, 3), depth=1)), model="two")
    fits = fits_of(bank)
    found = sk.ladder(*fits, sample=40)
    assert [(group.filters, group.sampled) for group in found.layers] == [(400, 20), (3, 3)]
    assert [group.size for group in found.sizes] == ["5x5", "3x3"]
    assert found.network.steps[0].explained.filters == pytest.approx(fits[0].share_explained, abs=0.05)
    assert sk.ladder(*fits, sample=40) == found


@pytest.mark.parametrize(("shape", "axes", "steps"), [((9, 11), 1, 3), ((6, 3, 3, 3), 3, 3), ((9, 1, 7), 2, 2)])
def test_steps_that_have_no_form_are_left_out(shape, axes, steps):
    found = sk.ladder(*fits_of(FilterBank.from_tensor(noise(0, *shape), axes=axes)))
    assert [step.model for step in found.network.steps] == ["ideal", "second-order", "jet2"][:steps]
    assert len(found.to_pandas()) == steps


def test_no_magnitude_changes_a_ladder_and_dead_filters_do_not_count(small):
    fits, found = small
    bank = fits[0].bank
    scaled = bank.with_filters([2.0**-60 * layer.kernels for layer in bank])
    dead = bank.with_filters([torch.cat([layer.kernels, torch.zeros(2, 5, 5)]) for layer in bank])
    assert sk.ladder(*fits_of(scaled)).network.steps == found.network.steps
    assert sk.ladder(*fits_of(dead)).network.filters == 16


def test_few_filters_have_no_interval():
    found = sk.ladder(*fits_of(FilterBank.from_tensor(noise(0, 3, 5, 5))))
    step = found.network.steps[0]
    assert (step.beyond_matched.low, step.beyond_matched.word) == (None, "too few")
    cases = [(0.1, 0.0, 0.2), (0.1, 0.05, 0.2), (-0.1, -0.2, -0.01)]
    assert [Difference(*case).word for case in cases] == ["no more", "more", "less"]


def test_other_fits_are_refused(small):
    fits, _ = small
    bank = fits[0].bank
    with pytest.raises(FilterError, match="begins with fits of the model 'ideal'"):
        sk.ladder(sk.fit(bank, "jet1"), *fits[1:])
    with pytest.raises(FilterError, match="layers hold other numbers of filters"):
        sk.ladder(fits[0], sk.fit(noise(0, 3, 5, 5)), fits[2])
    zeros = sk.fit(torch.zeros(4, 5, 5))
    with pytest.raises(FilterError, match="no filter has a fit"):
        sk.ladder(zeros, zeros, zeros)


def test_a_forward_difference_is_a_jet_and_a_sharpening_is_not():
    scale = torch.tensor([0.9, 1.1], dtype=torch.float64)
    forward = template("dx", scale, (7, 7)) + template("dxx", scale, (7, 7)) / 2
    assert torch.allclose(template("dx+", scale, (7, 7)), forward, atol=1e-12)
    sharpened = template("sharpen", torch.tensor([0.9, 0.9], dtype=torch.float64), (7, 7), alpha=0.5)
    assert float(sk.fit(sharpened[None], "jet2").r2) < 1 - 1e-5
