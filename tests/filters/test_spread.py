"""Spatial spread against the published table, a direct formula, and what must not change it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from scalekeys.errors import FilterError
from scalekeys.filters import coordinates, master_keys, spread
from tolerances import DEVICES, DTYPES, PUBLISHED_4_DECIMALS, assert_close

# Lindeberg, Babaiee, Kiasari, "Modelling and analysis of the 8 filters from the 'master key filters hypothesis' ...",
# JMIV 68(3):22, 2026 (arXiv 2509.12746), the tables of spatial spread: l1 norm, mean x, mean y, Vxx, Vxy, Vyy.
PUBLISHED = (
    (2.4468, -0.0231, -0.6021, 1.7992, -0.0222, 1.6321),
    (2.5639, 0.5590, 0.0921, 1.3280, 0.0118, 1.4247),
    (2.7282, 0.0562, 0.6932, 1.5840, 0.0350, 1.3637),
    (2.3197, -0.5785, 0.0979, 1.6353, 0.0507, 1.2530),
    (4.4381, 0.0569, -0.0409, 3.8474, -0.0108, 1.8477),
    (3.8091, -0.0056, 0.0855, 1.6338, -0.0805, 3.3468),
    (1.9654, 0.0434, -0.0860, 1.2759, 0.0030, 1.5468),
    (3.0746, -0.0290, -0.0482, 2.3814, -0.0203, 2.3558),
)

filters = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-1, 1).filter(lambda value: value == 0 or abs(value) > 1e-6),
).filter(np.any)


def by_formula(h: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The definitions, pixel by pixel."""
    rows, cols = h.shape
    points = [(col - (cols - 1) / 2, (rows - 1) / 2 - row) for row in range(rows) for col in range(cols)]
    weights = np.abs(h).ravel()
    mean = np.average(points, axis=0, weights=weights)
    second = sum(w * np.outer(p, p) for w, p in zip(weights, points, strict=True)) / weights.sum()
    return weights.sum(), mean, second - np.outer(mean, mean)


@pytest.mark.parametrize("key", range(1, 9))
def test_the_spread_of_a_key_is_the_published_one_to_four_decimals(key):
    measured = spread(master_keys()[key - 1])
    (vxx, vxy), (vyx, vyy) = measured.covariance.tolist()
    numbers = [measured.l1_norm.item(), *measured.mean.tolist(), vxx, vxy, vyy]
    assert numbers == pytest.approx(PUBLISHED[key - 1], rel=0, abs=PUBLISHED_4_DECIMALS)
    assert vyx == vxy


@given(filters)
def test_the_spread_is_its_formula_for_any_size(h):
    measured = spread(torch.tensor(h))
    l1_norm, mean, covariance = by_formula(h)
    assert_close(measured.l1_norm, np.array(l1_norm), absolute=1e-13)
    assert_close(measured.mean, mean, absolute=1e-13)
    assert_close(measured.covariance, covariance, absolute=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(5, 7), (4, 2), (1, 3), (1, 1)], ids=str)
def test_a_batch_holds_what_its_members_have_alone(dtype, device, size):
    h = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    batch = spread(h)
    assert (batch.l1_norm.shape, batch.mean.shape, batch.covariance.shape) == ((2, 3), (2, 3, 2), (2, 3, 2, 2))
    for i, j in np.ndindex(2, 3):
        alone = spread(h[i, j])
        assert_close(batch.l1_norm[i, j], alone.l1_norm)
        assert_close(batch.mean[i, j], alone.mean)
        assert_close(batch.covariance[i, j], alone.covariance)


def test_an_empty_batch_has_an_empty_spread():
    assert spread(torch.empty(0, 7, 7)).covariance.shape == (0, 2, 2)


def test_an_even_side_has_its_centre_between_two_pixels():
    corner = torch.zeros(2, 4, dtype=torch.float64)
    corner[0, 0] = -3
    measured = spread(corner)
    assert measured.mean.tolist() == [-1.5, 0.5]
    assert measured.l1_norm.item() == 3
    assert (measured.covariance == 0).all()


def test_x_points_right_and_y_points_up():
    x, y = coordinates(3, 5, like=torch.zeros(1, dtype=torch.float64))
    assert x[0].tolist() == x[2].tolist() == [-2, -1, 0, 1, 2]
    assert y[:, 0].tolist() == y[:, 4].tolist() == [1, 0, -1]


@given(filters, st.floats(0.01, 100), st.sampled_from([-1, 1]))
def test_an_amplitude_changes_nothing_but_the_l1_norm(h, size, sign):
    one, other = spread(torch.tensor(h)), spread(torch.tensor(sign * size * h))
    assert_close(other.l1_norm, size * one.l1_norm)
    assert_close(other.mean, one.mean, absolute=1e-12)
    assert_close(other.covariance, one.covariance, absolute=1e-12)


@given(filters)
def test_mirroring_left_and_right_turns_x_round(h):
    one, other = spread(torch.tensor(h)), spread(torch.tensor(h).flip(-1))
    assert_close(other.mean, one.mean * torch.tensor([-1, 1]), absolute=1e-12)
    assert_close(other.covariance, one.covariance * torch.tensor([[1, -1], [-1, 1]]), absolute=1e-12)


@given(filters)
def test_mirroring_up_and_down_turns_y_round(h):
    one, other = spread(torch.tensor(h)), spread(torch.tensor(h).flip(-2))
    assert_close(other.mean, one.mean * torch.tensor([1, -1]), absolute=1e-12)
    assert_close(other.covariance, one.covariance * torch.tensor([[1, -1], [-1, 1]]), absolute=1e-12)


@given(filters)
def test_exchanging_the_axes_exchanges_x_and_y(h):
    upright = torch.tensor(h).flip(-2).mT.flip(-2)  # y grows with the rows in between, as x with the columns
    one, other = spread(torch.tensor(h)), spread(upright)
    assert_close(other.mean, one.mean.flip(0), absolute=1e-12)
    assert_close(other.covariance, one.covariance.flip(0, 1), absolute=1e-12)


@given(filters, st.integers(0, 3), st.integers(0, 3))
def test_empty_pixels_around_change_nothing(h, rows, cols):
    one = spread(torch.tensor(h))
    other = spread(np.pad(h, ((rows, rows), (cols, cols))))
    assert_close(other.mean, one.mean, absolute=1e-12)
    assert_close(other.covariance, one.covariance, absolute=1e-12)


@given(filters)
def test_the_covariance_is_symmetric_and_has_no_negative_eigenvalue(h):
    covariance = spread(torch.tensor(h)).covariance
    assert torch.equal(covariance, covariance.mT)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_a_zero_or_broken_filter_has_no_place_and_leaves_the_others_alone(bad):
    keys = master_keys()
    keys[2] = bad
    measured, untouched = spread(keys), spread(master_keys())
    assert measured.mean[2].isnan().all()
    assert measured.covariance[2].isnan().all()
    others = [0, 1, 3, 4, 5, 6, 7]
    assert_close(measured.mean[others], untouched.mean[others])
    assert_close(measured.covariance[others], untouched.covariance[others])
    assert bad != 0 or measured.l1_norm[2] == 0


@pytest.mark.parametrize("array", [np.eye(3), np.eye(3, dtype=np.float32), np.eye(3, dtype=np.int64)], ids=str)
def test_arrays_are_measured_like_tensors(array):
    measured = spread(array)
    assert measured.l1_norm.item() == 3
    assert_close(measured.covariance, np.array([[2, -2], [-2, 2]]) / 3)


def test_a_profile_is_no_filter():
    with pytest.raises(FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(7,\)"):
        spread(torch.ones(7))
