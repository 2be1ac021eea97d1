"""Filters of one to three axes and of even sides: spread, normalisation, windows, controls, keys and replacement."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters, assign_keys, coordinates, noise_model, replacement, spread
from scalekeys.filters.budget import within_budget
from scalekeys.filters.matched_noise import _factor
from scalekeys.filters.replacement import taps_of
from scalekeys.filters.window import in_window
from tolerances import assert_close

SIZES = [(5,), (4,), (2,), (3, 4), (2, 5), (1, 6), (3, 4, 5), (2, 2, 2), (1, 3, 4)]
CONTROLS = [sk.white_noise_like, sk.matched_noise_like]


def random_filters(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64)


def points_of(size: tuple[int, ...]) -> np.ndarray:
    """Coordinates (x, y, z) of all taps, written apart from the package: y alone runs against its index."""
    points = []
    for index in np.ndindex(*size):
        from_centre = [place - (side - 1) / 2 for place, side in zip(index, size, strict=True)][::-1]
        points.append([-value if axis == 1 else value for axis, value in enumerate(from_centre)])
    return np.array(points)


@pytest.fixture
def mixed() -> FilterBank:
    return FilterBank(
        (
            LayerFilters("causal", random_filters(30, 4), depth=0),
            LayerFilters("image", random_filters(20, 3, 4, seed=1), depth=1),
            LayerFilters("video", random_filters(40, 2, 3, 3, seed=2), depth=2),
        )
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_coordinates_have_their_origin_in_the_centre_and_y_points_up(size):
    found = coordinates(*size, like=torch.zeros(1, dtype=torch.float64))
    assert all(axis.shape == size for axis in found)
    np.testing.assert_array_equal(torch.stack(found, -1).flatten(0, -2), points_of(size))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_spread_is_its_formula(size):
    filters, points = random_filters(3, *size), points_of(size)
    measured = spread(filters, axes=len(size))
    for number, filter_ in enumerate(filters.numpy()):
        weights = np.abs(filter_).ravel()
        covariance = np.cov(points.T, aweights=weights, ddof=0).reshape(len(size), len(size))
        assert_close(measured.l1_norm[number], np.array(weights.sum()), absolute=1e-13)
        assert_close(measured.mean[number], np.average(points, axis=0, weights=weights), absolute=1e-13)
        assert_close(measured.covariance[number], covariance, absolute=1e-12)


def test_a_weight_acts_on_every_axis():
    filters, weight = random_filters(2, 3, 4, 5), random_filters(3, 4, 5, seed=1).abs()
    weighted, multiplied = spread(filters, weight, axes=3), spread(filters * weight, axes=3)
    assert_close(weighted.l1_norm, multiplied.l1_norm)
    assert_close(weighted.covariance, multiplied.covariance)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_offset_concentrates_a_filter_more_than_any_constant_on_a_dense_grid(size):
    points = points_of(size)[:, [side > 1 for side in size[::-1]]]

    def objective(filter_: np.ndarray, offset: float) -> float:
        covariance = np.cov(points.T, aweights=np.abs(filter_ - offset).ravel(), ddof=0)
        return float(np.linalg.det(np.atleast_2d(covariance)))

    filters = random_filters(4, *size)
    for filter_, offset in zip(filters.numpy(), sk.dc_offset(filters, axes=len(size)), strict=True):
        grid = np.linspace(filter_.min(), filter_.max(), 400)
        assert float(offset) in filter_
        assert objective(filter_, float(offset)) <= min(objective(filter_, value) for value in grid) + 1e-12


def test_filters_of_one_tap_have_no_offset():
    assert sk.dc_offset(torch.ones(3, 1), axes=1).isnan().all()
    assert sk.dc_offset(torch.ones(3, 1, 1, 1), axes=3).isnan().all()


@pytest.mark.parametrize(
    ("name", "axes"),
    [("dx", 1), ("dx+", 1), ("smooth", 1), ("sharpen", 1), ("dx-", 3), ("dy", 3), ("dz+", 3), ("smooth", 3)],
)
def test_moment_normalization_gives_unit_responses(name, axes):
    size = (4, 3, 6)[-axes:]
    filters = random_filters(5, 2, *size)
    found = sk.moment_normalization(filters, name, axes=axes)
    taps = found.filters.flatten(2)
    if name in ("smooth", "sharpen"):
        response, offset = taps.sum(-1), sk.dc_offset(filters, axes=axes)
    else:
        axis = "xyz".index(name[1])
        position = torch.from_numpy(points_of(size)[:, axis])
        centre = spread(filters, axes=axes).mean[..., axis, None]
        response, offset = (taps * (-position - centre)).sum(-1), torch.zeros(5, 2, dtype=torch.float64)
    np.testing.assert_allclose(response, np.ones((5, 2)), atol=1e-9)
    assert_close(found.offset, offset)
    back = taps * found.amplitude[..., None] + found.offset[..., None]
    np.testing.assert_allclose(back, filters.flatten(2), atol=1e-12)


def test_a_family_of_other_axes_has_no_moment():
    for name, axes in (("dy", 1), ("dz", 2)):
        with pytest.raises(sk.ModelError, match=f"is called '{name}'"):
            sk.moment_normalization(torch.ones(3, 3, 3), name, axes=axes)


@pytest.mark.parametrize("axes", [0, 4])
def test_a_kernel_has_one_to_three_axes(axes):
    for measure in (spread, sk.dc_offset, lambda values, axes: sk.moment_normalization(values, "dx", axes=axes)):
        with pytest.raises(sk.FilterError, match=f"kernels have 1, 2 or 3 axes, got {axes}"):
            measure(torch.ones(2, 2, 2, 2), axes=axes)


def test_windows_keep_the_central_tap_along_each_axis():
    taps = torch.arange(1.0, 61.0).view(3, 4, 5)
    assert torch.equal(in_window(taps, (1, 3, 3)), taps[1:2, 0:3, 1:4])
    wide = in_window(taps, (5, 5, 7))  # the centre of an even side is the tap before its middle
    assert torch.equal(wide[1:4, 1:5, 1:6], taps)
    assert wide.sum() == taps.sum()
    assert in_window(torch.tensor([1.0, 2.0, 3.0, 4.0]), (3,)).tolist() == [1, 2, 3]
    assert in_window(torch.tensor([1.0, 2.0]), (5,)).tolist() == [0, 0, 1, 2, 0]


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_share_means_and_norms(mixed, control):
    made = control(mixed, seed=3)
    assert [layer.size for layer in made] == [layer.size for layer in mixed]
    for layer, noise in zip(mixed, made, strict=True):
        one, other = layer.kernels.flatten(1), noise.kernels.flatten(1)
        np.testing.assert_allclose(other.mean(1), one.mean(1), atol=1e-12)
        np.testing.assert_allclose(other.var(1), one.var(1), rtol=1e-10)
        assert not torch.isclose(one, other).all(1).any()


def test_matched_noise_shares_the_second_moments_of_filters_of_three_axes():
    filters = random_filters(50, 2, 3, 3)
    rows = filters.flatten(1) - filters.flatten(1).mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True)
    factor = _factor(filters)
    torch.testing.assert_close(factor.T @ factor, rows.T @ rows / 50)


@pytest.mark.parametrize("control", CONTROLS)
def test_filters_without_a_form_stay(control):
    filters = random_filters(6, 2, 3, 3)
    filters[0], filters[1], filters[2, 0, 0, 0] = 0.0, 0.5, torch.nan
    filters[3] *= 1e-9
    (made,) = control(FilterBank.from_tensor(filters, axes=3))
    assert torch.equal(made.kernels[:4].nan_to_num(9), filters[:4].nan_to_num(9))
    assert not torch.isclose(made.kernels[4:], filters[4:]).all()


def test_negligible_filters_are_found_in_layers_of_any_axes(mixed):
    layers = [layer.kernels.clone() for layer in mixed]
    for layer in layers:
        layer[3] *= 1e-9
    assert mixed.with_filters(layers).negligible.nonzero()[:, 0].tolist() == [3, 33, 53]


def test_a_noise_model_explains_little_and_costs_two_numbers(mixed):
    modelled = noise_model(mixed)
    assert (modelled.r2 < 1).all()
    assert modelled.numbers.tolist() == [2] * 90
    for (layer, part), model in zip(mixed.parts(), modelled.kernels(), strict=True):
        one, other = layer.kernels.flatten(1), model.kernels.flatten(1)
        expected = 1 - (one - other).square().mean(1) / one.var(1, correction=0)
        np.testing.assert_allclose(modelled.r2[part], expected, rtol=1e-9)


@pytest.mark.parametrize("size", [(6,), (3, 4), (2, 3, 3)], ids=str)
def test_scaled_keys_are_found_again(size):
    axes = len(size)
    keys, which = random_filters(4, *size), torch.tensor([3, 0, 2, 1, 1])
    factor = torch.tensor([1.0, -2.0, 3.0, -1.0, 0.5], dtype=torch.float64).view(5, *[1] * axes)
    assigned = assign_keys(factor * keys[which] + 0.3, keys, axes=axes)
    assert assigned.index.tolist() == which.tolist()
    np.testing.assert_allclose(assigned.r2, 1.0)
    assert_close(assigned.kernels().layers[0].kernels, factor * keys[which] + 0.3)
    padded = assign_keys(in_window(keys, tuple(side + 2 for side in size)), keys, axes=axes)
    assert padded.index.tolist() == [0, 1, 2, 3]


def test_filters_with_other_axes_than_the_keys_get_no_key(mixed):
    assigned = assign_keys(mixed)
    assert (assigned.index >= 0).tolist() == [30 <= place < 50 for place in range(90)]
    assert set(assigned.family[:30]) == {""}
    chosen = replacement(assigned)
    assert chosen.replaced.tolist() == (assigned.index >= 0).tolist()
    assert torch.equal(chosen.filters.layers[2].kernels, mixed.layers[2].kernels)
    causal = FilterBank(mixed.layers[::2], model="net")
    with pytest.raises(sk.FilterError, match="net: no kernel has two axes, as the keys have; the sizes are 2x3x3, 4"):
        assign_keys(causal)
    with pytest.raises(
        sk.FilterError, match=r"keys of one axis must be finite, of shape \(keys, cols\), got \(8, 7, 7\)"
    ):
        assign_keys(causal, axes=1)


def test_a_replacement_counts_the_taps_of_any_kernel(mixed):
    assert taps_of(mixed).tolist() == [4] * 30 + [12] * 20 + [18] * 40
    only = replacement(noise_model(mixed), layers=["video"])
    assert only.numbers.tolist() == [4] * 30 + [12] * 20 + [2] * 40
    assert repr(only) == "Replacement(40 of 90 filters, 440 numbers for 1080 taps)"


def test_a_budget_is_shared_out_over_layers_of_any_axes(mixed):
    white = replacement(noise_model(mixed))
    chosen = within_budget([white], [torch.arange(90.0)], 1000)
    assert int(chosen.numbers.sum()) <= 1000
    replaced, kernels = chosen.replaced, torch.cat([layer.kernels.flatten() for layer in chosen.filters])
    taken, kept = (torch.cat([layer.kernels.flatten() for layer in bank]) for bank in (white.filters, mixed))
    mine = replaced.repeat_interleave(taps_of(mixed))
    assert 0 < int(replaced.sum()) < 90
    assert torch.equal(kernels, torch.where(mine, taken, kept))
