"""Formation: noise stands at 0 and formed filters at 1 whatever the kernel, and few filters claim nothing."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

import scalekeys as sk
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import Standing, formation
from scalekeys.fitting.formation import FORMED, LIKE_NOISE, PARTLY_FORMED, UNDECIDED, beyond_white_noise, ranks
from scalekeys.proportions import superiority_interval
from scalekeys.scalespace import template

FAMILIES = ("smooth", "dx", "dy", "dx+", "dx-", "dy+", "dy-")


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def formed(count, side):
    scales = 0.5 + torch.rand(count, 2, generator=torch.Generator().manual_seed(side))
    return torch.stack([template(FAMILIES[i % 7], scale, side) for i, scale in enumerate(scales)]).float()


def standing(filters, axes=2):
    return formation(sk.fit(filters, axes=axes)).network.white


@pytest.mark.parametrize("shape", [(200, 3, 3), (200, 4, 2), (200, 9), (200, 2, 3, 3)])
def test_noise_stands_at_zero_whatever_the_kernel(shape):
    found = standing(noise(1, *shape), len(shape) - 1)
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.15
    assert found.word == LIKE_NOISE


@pytest.mark.parametrize("side", [3, 5])
def test_templates_stand_at_one(side):
    found = standing(formed(60, side))
    assert found.value > 0.95
    assert found.word == FORMED


def test_formation_falls_with_the_share_of_noise():
    clean, added = formed(100, 5), noise(2, 100, 5, 5)
    added *= (clean.flatten(1).norm(dim=1) / added.flatten(1).norm(dim=1))[:, None, None]
    values = [standing((1 - share) ** 0.5 * clean + share**0.5 * added).value for share in (0.0, 0.4, 0.7, 0.9, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.2 < 0.9 < values[0]
    half = standing(torch.cat([clean[:50], added[50:]]))
    assert half.value == pytest.approx(0.5, abs=0.15)


def test_few_filters_decide_little():
    assert standing(formed(1, 5)).word == UNDECIDED
    pairs = FilterBank(tuple(LayerFilters(str(i), filters) for i, filters in enumerate(noise(3, 100, 2, 5, 5))))
    words = [layer.white.word for layer in formation(sk.fit(pairs)).layers]
    assert words.count(UNDECIDED) > 50
    assert words.count(PARTLY_FORMED) + words.count(FORMED) <= 8  # nominally 2.5 of 100


@pytest.mark.parametrize(
    ("low", "value", "high", "word"),
    [
        (-0.1, 0.0, 0.1, LIKE_NOISE),
        (-0.9, -0.5, 0.0, LIKE_NOISE),
        (0.01, 0.04, 0.07, LIKE_NOISE),
        (-0.1, 0.3, 0.6, UNDECIDED),
        (0.1, 0.3, 0.6, PARTLY_FORMED),
        (0.1, 0.5, 0.6, FORMED),
    ],
)
def test_words_follow_the_interval(low, value, high, word):
    assert Standing(value, low, high).word == word


def test_dead_and_unreadable_filters_and_kernels_of_three_taps_do_not_count():
    filters = formed(40, 5)
    filters[0], filters[1], filters[2, 0, 0] = 0, 3, torch.nan
    filters[3] *= 1e-9
    bank = FilterBank((LayerFilters("a", filters), LayerFilters("row", noise(0, 16, 1, 3), depth=1)))
    found = formation(sk.fit(bank))
    assert [(group.filters, group.counted) for group in found.layers] == [(40, 36), (16, 0)]
    assert found.layers[1].white is None
    assert (found.network.filters, found.network.counted, found.network.size) == (56, 36, "5x5, 1x3")


def test_layers_are_those_of_the_fit_beside_matched_noise():
    learned = formed(40, 5) + 0.1 * noise(1, 40, 5, 5)
    bank = FilterBank((LayerFilters("a", learned), LayerFilters("b", noise(0, 40, 5, 5), depth=1)))
    found = formation(sk.fit(bank), sk.fit(sk.matched_noise_like(bank)))
    table = found.to_pandas()
    assert table["layer"].tolist() == ["a", "b"]
    assert table["formation"].tolist() == [group.white.value for group in found.layers]
    assert table["beyond_matched"].tolist() == [group.matched.value for group in found.layers]
    assert found.layers[0].matched.value < found.layers[0].white.value
    assert abs(found.layers[1].matched.value) < 0.35  # about three standard deviations
    assert formation(sk.fit(bank)).to_pandas()["beyond_matched"].isna().all()


def test_size_sign_and_scale_of_filters_do_not_matter():
    filters = 0.3 * formed(30, 5) + 0.1 * noise(0, 30, 5, 5)
    value = standing(filters).value
    assert standing(-1e3 * filters + 5).value == pytest.approx(value, abs=1e-3)
    assert standing(filters.flip(0)).value == value


def test_the_share_is_that_of_mann_and_whitney():
    generator = np.random.default_rng(0)
    values, reference = generator.random(40), generator.random(90)
    values[:5] = reference[:5]
    expected = mannwhitneyu(values, reference).statistic / (40 * 90)
    assert ranks(values, reference).mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (3, 1), (0.5, 0.5), (30, 1)])
@pytest.mark.parametrize("count", [8, 64])
def test_the_interval_covers_the_truth(first, second, count):
    generator = np.random.default_rng(0)
    truth, runs = 2 * first / (first + second) - 1, 400
    found = [Standing.of(generator.beta(first, second, count), 4096) for _ in range(runs)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.9


def test_the_interval_holds_its_share_and_narrows():
    for share in (0.0, 1e-3, 0.5, 0.97, 1.0):
        few, many = superiority_interval(share, 8, 4096), superiority_interval(share, 800, 4096)
        assert 0 <= few[0] <= many[0] <= share <= many[1] <= few[1] <= 1
        assert few[1] - few[0] > many[1] - many[0] > 0
    low, high = superiority_interval(0.3, 20, 50)
    assert superiority_interval(0.7, 20, 50) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_other_fits_are_refused():
    filters = formed(8, 5)
    with pytest.raises(FilterError, match=r"by least squares with free amplitude and offset .*, got .*criterion l1"):
        formation(sk.fit(filters, "dx", criterion="l1"))
    with pytest.raises(FilterError, match="normalization moment"):
        formation(sk.fit(filters, "dx", normalization="moment"))
    with pytest.raises(FilterError, match="the matched noise is not that of the filters"):
        formation(sk.fit(filters, "dx"), sk.fit(filters[:4], "dx"))
    with pytest.raises(FilterError, match="scales shared"):
        formation(sk.fit(filters, "dx", scales="shared"))
    with pytest.raises(FilterError, match=r"the matched noise is fitted otherwise than the filters: model dy"):
        formation(sk.fit(filters, "dx"), sk.fit(filters, "dy"))


@pytest.mark.parametrize(
    "options", [{"scales": "common"}, {"window": "published"}, {"discretization": "sampled"}], ids=str
)
def test_noise_is_fitted_in_the_same_way(options):
    """Common scales explain less, and the published window other differences, of filters and of noise alike."""
    found = formation(sk.fit(noise(7, 150, 5, 5), ("smooth", "dx", "dx+"), **options)).network.white
    assert abs(found.value) < 0.2
    assert found.low < 0 < found.high


def test_families_of_some_axes_stand_in_a_bank_of_several():
    layers = (LayerFilters("plane", noise(0, 30, 3, 3)), LayerFilters("line", noise(1, 30, 9), depth=1))
    found = formation(sk.fit(FilterBank(layers), ("dx", "dy")))
    assert [group.counted for group in found.layers] == [30, 30]


def test_kernels_on_which_the_model_has_no_family_do_not_count():
    """The derivative along x cannot be told from another on kernels of one column; the other layers stand as alone."""
    layers = [LayerFilters(name, noise(7, 16, *size)) for name, size in (("square", (5, 5)), ("column", (7, 1)))]
    fit = sk.fit(FilterBank(tuple(layers)), "dx")
    found, alone = formation(fit), formation(sk.fit(FilterBank(tuple(layers[:1])), "dx"))
    assert [group.counted for group in found.layers] == [16, 0]
    assert found.layers[1].white is None
    assert found.network.white == alone.network.white
    assert not beyond_white_noise(fit)[16:].any()


def test_other_models_are_ranked_among_their_own_noise():
    found = formation(sk.fit(noise(5, 100, 5, 5), "jet1")).network.white
    assert found.low < 0 < found.high
