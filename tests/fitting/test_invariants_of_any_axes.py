"""What must not change a fit, and what must change it in a known way, for kernels of any axes and sides."""

import numpy as np
import pytest
import torch

import scalekeys as sk

SIZES = [(5,), (8,), (9,), (5, 5), (6, 6), (4, 5), (3, 3, 3), (3, 4, 5)]

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))


def noise(count, *size, seed=0):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same_scales(found, expected, fit):
    """Compare variances, since at zero a scale grows with the root of its variance."""
    finite = torch.as_tensor(fit.status != "polynomial")
    np.testing.assert_allclose(found[finite].square(), expected[finite].square(), rtol=1e-4, atol=1e-5)


def same_fits(first, second, rows=slice(None)):
    """Compare two fits; where several scales are infinite, a search ends a little before the last digits."""
    assert list(first.family) == list(second.family[rows])
    assert list(first.status) == list(second.status[rows])
    np.testing.assert_allclose(first.r2, second.r2[rows], atol=1e-7)
    same_scales(first.sigma, second.sigma[rows], first)
    np.testing.assert_array_equal(first.sigma.isinf(), second.sigma[rows].isinf())


@sizes
def test_amplitudes_and_offsets_of_a_filter_change_nothing_else(size):
    axes, filters = len(size), noise(20, *size, seed=4)
    plain, moved = sk.fit(filters, axes=axes), sk.fit(-1e4 * filters + 1e3, axes=axes)
    same_fits(moved, plain)
    np.testing.assert_allclose(moved.residual_l2, 1e4 * plain.residual_l2, rtol=1e-5)
    np.testing.assert_allclose(moved.kernels(), -1e4 * plain.kernels() + 1e3, atol=1e4 * 2e-3)


def renamed(families_, *pairs):
    swap = dict(pairs) | {b: a for a, b in pairs}
    return [swap.get(name, name) for name in families_]


@sizes
def test_mirroring_an_axis_exchanges_its_one_sided_differences(size):
    axes, filters = len(size), noise(20, *size, seed=5)
    plain = sk.fit(filters, axes=axes)
    for axis, name in enumerate("xyz"[:axes]):
        mirrored = sk.fit(filters.flip(axes - axis), axes=axes)
        assert list(mirrored.family) == renamed(plain.family, (f"d{name}+", f"d{name}-"))
        np.testing.assert_allclose(mirrored.r2, plain.r2, atol=1e-7)
        same_scales(mirrored.sigma, plain.sigma, plain)


def test_exchanging_x_and_z_exchanges_their_families_and_scales():
    filters = noise(30, 3, 4, 5, seed=6)
    plain, turned = sk.fit(filters, axes=3), sk.fit(filters.transpose(1, 3), axes=3)
    pairs = [(f"dx{kind}", f"dz{kind}") for kind in ("", "+", "-")]
    assert list(turned.family) == renamed(plain.family, *pairs)
    np.testing.assert_allclose(turned.r2, plain.r2, atol=1e-7)
    same_scales(turned.sigma, plain.sigma.flip(1), plain)


def test_exchanging_rows_and_columns_of_an_even_kernel_turns_y_upside_down():
    filters = noise(30, 4, 6, seed=7)
    plain, turned = sk.fit(filters), sk.fit(filters.mT)
    swap = {"dx": "dy", "dy": "dx", "dx+": "dy-", "dx-": "dy+", "dy+": "dx-", "dy-": "dx+"}
    assert list(turned.family) == [swap.get(name, name) for name in plain.family]
    np.testing.assert_allclose(turned.r2, plain.r2, atol=1e-7)
    same_scales(turned.sigma, plain.sigma.flip(1), plain)


@pytest.mark.parametrize("size", [(1, 7), (7, 1), (1, 1, 6), (1, 5, 1)], ids=str)
def test_an_axis_of_one_tap_is_as_if_it_were_not_there(size):
    taps = max(size)
    filters = noise(20, taps, seed=8)
    line, wide = sk.fit(filters, axes=1), sk.fit(filters.reshape(-1, *size), axes=len(size))
    axis = size[::-1].index(taps)
    upright = (lambda values: values.flip(1)) if axis == 1 else (lambda values: values)  # y points up
    line = sk.fit(upright(filters), axes=1)
    along = [name if name == "smooth" else name.replace("x", "xyz"[axis]) for name in line.family]
    plain = [own != "sharpen" for own in line.family]  # whose impulse stands on the other axes as well
    assert [name for name, own in zip(wide.family, plain, strict=True) if own] == [
        name for name, own in zip(along, plain, strict=True) if own
    ]
    np.testing.assert_allclose(wide.r2[plain], line.r2[plain], atol=1e-7)
    others = [other for other in range(len(size)) if other != axis]
    assert wide.sigma[:, others].isnan().all()
    assert (wide.sigma_status[:, others] == "").all()


@pytest.mark.parametrize("criterion", ["l2", "variance"])
@pytest.mark.parametrize("size", [(2,), (2, 2), (2, 1)], ids=lambda size: "x".join(map(str, size)))
def test_on_two_taps_a_difference_is_the_centred_one(size, criterion):
    """One-sided differences have the same form there, and rounding must not choose among them."""
    for filters in (noise(40, *size, seed=8), 3.7 * noise(40, *size, seed=8).flip(1)):
        assert set(sk.fit(filters, axes=len(size), criterion=criterion).family) <= {"dx", "dy"}


def test_a_scale_that_changes_nothing_is_zero():
    """A smoothing of three taps has one form up to an offset, whose error of rounding must not be followed."""
    filters = noise(200, 3, seed=9)
    filters = filters + filters.flip(1) + 0.05 * noise(200, 3, seed=10)
    fit = sk.fit(filters, axes=1)
    flat = fit.family == "smooth"
    assert flat.sum() > 100
    assert not fit.sigma[torch.as_tensor(flat)].any()
