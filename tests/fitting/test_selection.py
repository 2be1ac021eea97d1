"""Models of different numbers compete by evidence, and noise is called unexplained."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.fitting import MODELS
from scalekeys.fitting.evidence import evidence
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.stack import fit_chunk
from scalekeys.scalespace import FAMILIES, template, template_plan

AUTO = MODELS["auto"](2)
PLAIN = [name for name in AUTO if not FAMILIES[name].mixed]


def _noise(count, side, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_best_of_all_models_has_the_most_evidence():
    filters = torch.cat([sk.master_keys(), _noise(20, 7)])
    fit = sk.fit(filters, "auto")
    alone = torch.stack([sk.fit(filters, name).evidence for name in AUTO])
    finite = ~fit.sigma.isinf().any(-1).numpy()
    np.testing.assert_allclose(fit.evidence[finite], alone.amax(0)[finite], atol=1e-6)
    assert [AUTO[i] for i in alone.argmax(0)[finite]] == list(fit.family[finite])
    # At infinite scales several families have the same template, and a search ends a little before the last digits.
    np.testing.assert_allclose(fit.evidence, alone.amax(0), atol=1e-3)
    own = alone[[AUTO.index(name) for name in fit.family], range(len(fit))]
    np.testing.assert_allclose(own, alone.amax(0), atol=1e-3)


@pytest.mark.parametrize("name", PLAIN)
def test_a_noisy_receptive_field_is_known_for_what_it_is(name):
    # Two scales along the axes: with one for both, a wide `dog` is a `smooth`, and a narrow one a `laplacian`.
    sigma = torch.tensor([[0.6, 0.9], [1.1, 0.7]], dtype=torch.float64)
    if name == "dog":
        sigma = torch.tensor([[0.5, 1.4], [0.7, 2.5]], dtype=torch.float64)
    kernels = template(name, sigma, 7, **({"alpha": 0.6} if name == "sharpen" else {}))
    norm = kernels.square().sum((-2, -1), keepdim=True).sqrt()
    fit = sk.fit(kernels / norm + 1e-3 * _noise(2, 7), "auto")
    assert list(fit.family) == [name, name]
    assert set(fit.status) == {"ok"}


def test_a_mixture_is_a_jet_and_not_a_single_derivative():
    components = template_plan("jet2", (7, 7))(torch.full((1, 2), 0.8, dtype=torch.float64))[0]
    weights = torch.tensor([0.3, 1.0, 0.8, 0.7, 0.9, -0.8], dtype=torch.float64)
    mixture = (weights[:, None, None] * components).sum(0)
    fit = sk.fit(mixture[None] + 1e-4 * _noise(1, 7), "auto")
    assert fit.family[0] == "jet2"
    np.testing.assert_allclose(fit.coefficients[0, :6], weights, atol=0.05)


@pytest.mark.parametrize("side", [3, 5, 7])
def test_one_in_twenty_filters_of_noise_is_taken_for_something(side):
    status = sk.fit(_noise(1500, side, seed=side), "auto").status
    share = (status != "unexplained").mean()
    assert share == pytest.approx(0.05, abs=0.025)  # four standard errors of both samples


def test_models_that_would_fit_more_numbers_than_half_of_the_taps_do_not_compete():
    filters = _noise(200, 3)
    assert set(sk.fit(filters, "auto").family) <= set(PLAIN)
    rows = sk.fit(torch.randn(2, 1, 5), "auto")
    assert list(rows.status) == ["unsupported-size"] * 2


def test_selection_knows_given_families():
    fit = sk.fit(sk.master_keys(), "auto", families=["dx"] * 4 + ["jet1"] * 4)
    assert list(fit.family) == ["dx"] * 4 + ["jet1"] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criterion": "l1"}, "'auto' weighs models by the squares that they leave"),
        ({"scales": "common"}, "'auto' weighs models by the squares"),
        ({"normalization": "moment"}, "makes no sense for 'dxx'|makes no sense for 'jet1'"),
    ],
)
def test_selection_says_what_it_needs(options, words):
    with pytest.raises(sk.ModelError, match=words):
        sk.fit(sk.master_keys(), "auto", **options)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("laplacian", {"criterion": "variance"}, "a sum of terms has no width of its own"),
        ("dxx", {"normalization": "moment"}, "the moments of the paper are those of the idealized families"),
        ("dog", {"scales": "shared"}, "whose parameters are t_inner, t_outer for each filter"),
    ],
)
def test_what_a_new_family_cannot_do_is_said(model, options, words):
    with pytest.raises(sk.ModelError, match=words):
        sk.fit(sk.master_keys(), model, **options)


def test_filters_of_another_side_leave_the_others_of_a_bank_as_they_are():
    odd = sk.filters.LayerFilters("odd", sk.master_keys().float())
    even = sk.filters.LayerFilters("even", torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)))
    mixed, alone = sk.fit(sk.FilterBank((odd, even)), "auto"), sk.fit(sk.FilterBank((odd,)), "auto")
    assert mixed.family[:8].tolist() == alone.family.tolist()
    assert mixed.status[8:].tolist() == sk.fit(sk.FilterBank((even,)), "auto").status.tolist()
    assert set(mixed.family[8:]) <= set(AUTO)


@pytest.mark.parametrize(
    ("size", "flat"), [((1, 7), (7,)), ((7, 1), (7,)), ((1, 3), (3,)), ((3, 1), (3,)), ((1, 5), (5,))], ids=str
)
def test_an_axis_of_one_tap_counts_no_number(size, flat):
    filters = _noise(4, 7)[:, 0, : flat[0]]
    wide = sk.fit(filters.reshape(-1, *size), ("smooth", "dx" if size[0] == 1 else "dy"))
    line = sk.fit(filters if size[0] == 1 else filters.flip(-1), ("smooth", "dx"), axes=1)  # y points up
    assert wide.numbers.tolist() == line.numbers.tolist() == [4] * 4  # a scale, an amplitude, an offset, and which
    np.testing.assert_allclose(wide.evidence, line.evidence, atol=1e-6)


def test_a_row_of_seven_taps_is_judged_as_seven_taps_in_time_are():
    filters = _noise(20, 7)[:, 0]
    names = ("dx+", "dx-", "dx", "smooth", "dxx")
    wide, line = FitSpec("auto", names), FitSpec("auto", names)
    found, expected = fit_chunk(filters[:, None], wide), fit_chunk(filters, line)
    np.testing.assert_array_equal(found.family, expected.family)
    np.testing.assert_allclose(found.r2, expected.r2, atol=1e-7)
    assert (found.family >= 0).all()


def test_small_and_even_kernels_take_no_bank_down():
    sizes = [(2, 2), (4, 4), (1, 2), (3, 3), (1, 1)]
    draw = torch.Generator().manual_seed(3)
    layers = [sk.LayerFilters(str(n), torch.randn(2, *size, generator=draw), depth=n) for n, size in enumerate(sizes)]
    fit = sk.fit(sk.FilterBank(tuple(layers), model="net"), "auto")
    assert list(fit.family != "") == [False] * 2 + [True] * 2 + [False] * 2 + [True] * 2 + [False] * 2
    assert set(fit.status[[0, 1, 4, 5]]) == {"unsupported-size"}
    assert list(sk.cluster(torch.randn(12, 2, 2, generator=draw), 2).fit("auto").family) == [""] * 2


def test_evidence_of_a_perfect_fit_is_finite():
    assert torch.isfinite(evidence(torch.tensor([1.0, 0.0]), 4, 49)).all()
