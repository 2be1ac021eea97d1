"""The matched control: Gaussian noise with the second moments over taps of the filters of each layer."""

import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters, master_keys, matched_noise_like
from scalekeys.filters.matched_noise import _factor


def unit(filters):
    """Centred filters of norm 1, one a row."""
    rows = filters.double().flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True)


def smooth(count, *, size=(5, 5), seed=0):
    """Filters whose neighbouring taps vary together."""
    noise = torch.randn(count, size[0] + 2, size[1] + 2, generator=torch.Generator().manual_seed(seed))
    return (
        torch.nn.functional.avg_pool2d(noise[:, None], 3, 1)[:, 0] * 10.0 ** torch.linspace(-3, 3, count)[:, None, None]
        + 2
    )


@pytest.mark.parametrize("kinds", [6, 300], ids=["fewer kinds than taps", "more"])
def test_second_moments_over_taps_are_those_of_the_unit_filters(kinds):
    filters = smooth(kinds).repeat(60_000 // kinds, 1, 1)
    noise = matched_noise_like(FilterBank.from_tensor(filters), seed=1).layers[0].kernels
    wanted, found = (rows.T @ rows / len(rows) for rows in (unit(filters), unit(noise)))
    # draws are brought to norm 1, which evens out large variances; the correlation of moments is left whole
    assert torch.corrcoef(torch.stack([wanted.flatten(), found.flatten()]))[0, 1] > 0.99
    if kinds == 6:  # nothing is drawn outside the space of the filters
        assert torch.linalg.matrix_rank(unit(noise)[:200].float(), rtol=1e-4) == 6


def test_before_norms_are_given_the_covariance_is_exact():
    filters = smooth(300)
    factor = _factor(filters)
    assert factor.shape == (25, 25)
    torch.testing.assert_close(factor.T @ factor, unit(filters).T @ unit(filters) / 300)
    few = _factor(filters[:7])
    assert few.shape == (7, 25)
    torch.testing.assert_close(few.T @ few, unit(filters[:7]).T @ unit(filters[:7]) / 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_means_and_norms_are_those_of_the_filters_and_layers_keep_their_names(dtype):
    layers = (
        LayerFilters("a", smooth(40).to(dtype), stride=2, depth=0),
        LayerFilters("b", master_keys().to(dtype), stride=1, depth=1),
    )
    bank = FilterBank(layers)
    noise = matched_noise_like(bank)
    assert [(layer.name, layer.stride, layer.depth) for layer in noise] == [("a", 2, 0), ("b", 1, 1)]
    for layer, control in zip(bank, noise, strict=True):
        one, other = (values.kernels.double().flatten(1) for values in (layer, control))
        assert control.kernels.dtype == dtype
        rtol = 3e-2 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(other.mean(1), one.mean(1), rtol=rtol, atol=rtol)
        torch.testing.assert_close(other.norm(dim=1), one.norm(dim=1), rtol=rtol, atol=0)


def test_bad_filters_stay_and_say_nothing_about_the_others():
    good = smooth(30)
    bad = torch.stack([torch.zeros(5, 5), torch.full((5, 5), 0.3), torch.full((5, 5), torch.nan), good[0].clone()])
    bad[3, 0, 0] = torch.inf
    bad = torch.cat([bad, 1e-12 * good[:1].flip(1)])
    noise = matched_noise_like(FilterBank.from_tensor(torch.cat([good, bad]))).layers[0].kernels
    assert torch.equal(noise[30:].nan_to_num(7.0), bad.nan_to_num(7.0))
    assert noise[:30].isfinite().all()
    alone = matched_noise_like(FilterBank.from_tensor(good)).layers[0].kernels
    assert torch.equal(noise[:29], alone[:29])  # the last 16 numbers that a generator gives depend on how many they are


@pytest.mark.parametrize("filters", [torch.zeros(0, 3, 3), torch.zeros(2, 3, 3), torch.ones(4, 1, 1)])
def test_a_layer_without_a_form_stays(filters):
    assert torch.equal(matched_noise_like(FilterBank.from_tensor(filters)).layers[0].kernels, filters)


def test_one_filter_is_imitated_by_itself():
    (control,) = matched_noise_like(FilterBank.from_tensor(master_keys()[:1]))
    one, other = unit(master_keys()[:1]), unit(control.kernels)
    torch.testing.assert_close((one * other).sum().abs(), torch.tensor(1.0, dtype=torch.float64))


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    bank = FilterBank.from_tensor(smooth(9))
    torch.manual_seed(5)
    one, again, other = (matched_noise_like(bank, seed=seed).layers[0].kernels for seed in (1, 1, 2))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, rtol=0.1)


def test_of_a_real_network_the_families_explain_less_of_it_than_of_the_filters_and_more_than_of_white_noise(shared):
    file = shared / "weights" / "mcunet-320kb-1mb_imagenet.pth"
    if not file.is_file():
        pytest.skip("needs ../shared/weights, which is not here")
    bank = FilterBank(tuple(layer for layer in sk.extract(file) if layer.size == (7, 7)))
    banks = (bank, *(noise(bank, seed=0) for noise in (sk.matched_noise_like, sk.white_noise_like)))
    real, matched, white = (float(sk.fit(one).r2.nanmedian()) for one in banks)
    # METHOD.md section 11 has 0.642, 0.475 and 0.113
    assert real == pytest.approx(0.642, abs=0.02)
    assert matched == pytest.approx(0.475, abs=0.02)
    assert white == pytest.approx(0.113, abs=0.02)
