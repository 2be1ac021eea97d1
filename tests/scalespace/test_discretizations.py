"""The other discretizations of the Gaussian against the package pyscsp, and their limits, sums and variances."""

import math

import numpy as np
import pytest
import torch
from pyscsp import discscsp

from scalekeys.errors import ModelError
from scalekeys.scalespace import (
    discrete_gaussian,
    integrated_gaussian,
    linearly_integrated_gaussian,
    normalized_sampled_gaussian,
    sampled_gaussian,
)
from tolerances import DEVICES, DTYPES, assert_close

PEERS = {
    discrete_gaussian: discscsp.make1Ddiscgaussfilter,
    sampled_gaussian: discscsp.make1Dsamplgaussfilter,
    normalized_sampled_gaussian: discscsp.make1Dnormsamplgaussfilter,
    integrated_gaussian: discscsp.make1Dintgaussfilter,
    linearly_integrated_gaussian: discscsp.make1Dlinintgaussfilter,
}
FINITE_AT_0 = (normalized_sampled_gaussian, integrated_gaussian, linearly_integrated_gaussian)
OTHERS = (sampled_gaussian, *FINITE_AT_0)

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
devices = pytest.mark.parametrize("device", DEVICES)
others = pytest.mark.parametrize("kernel", OTHERS)


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5, 0.8, 1.0, 1.7, 3.0, 8.0])
@pytest.mark.parametrize("kernel", PEERS)
def test_its_taps_are_those_of_pyscsp(kernel, sigma):
    expected = PEERS[kernel](sigma, 1e-10)
    actual = kernel(torch.tensor(sigma**2, dtype=torch.float64), len(expected) // 2)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-13)  # both cancel in the tails


@others
@dtypes
@devices
def test_a_batch_holds_what_its_members_give_alone(kernel, dtype, device):
    t = torch.tensor([[0.0, 0.3], [2.0, 40.0]], dtype=dtype, device=device)
    batch = kernel(t, 3)
    assert batch.shape == (2, 2, 7)
    for i, j in np.ndindex(2, 2):
        assert_close(batch[i, j], kernel(t[i, j], 3))


@others
def test_an_empty_batch_gives_an_empty_batch(kernel):
    assert kernel(torch.empty(0, 2), 3).shape == (0, 2, 7)


@dtypes
@pytest.mark.parametrize("kernel", FINITE_AT_0)
def test_without_scale_it_is_the_unit_impulse(kernel, dtype):
    assert kernel(torch.tensor(0.0, dtype=dtype), 2).tolist() == [0, 0, 1, 0, 0]
    assert_close(kernel(torch.tensor(1e-30, dtype=dtype), 2), np.array([0, 0, 1, 0, 0]))


@dtypes
def test_the_sampled_gaussian_without_scale_is_an_infinite_impulse(dtype):
    assert sampled_gaussian(torch.tensor(0.0, dtype=dtype), 2).tolist() == [0, 0, math.inf, 0, 0]


@dtypes
@others
@pytest.mark.parametrize("t", [1e-30, 1e-20, 1e-12, 1e-4])
def test_next_to_no_scale_the_other_taps_vanish_without_nan(kernel, dtype, t):
    taps = kernel(torch.tensor(t, dtype=dtype), 2)
    assert torch.isfinite(taps).all()
    assert_close(taps[[0, 4]], np.zeros(2))


@dtypes
@pytest.mark.parametrize("kernel", FINITE_AT_0)
@pytest.mark.parametrize("t", [0.0, 1e-40, 1e-30, 1e-20, 1e-12, 1e-6, 1e-3, 1.0])
def test_gradients_are_finite_down_to_no_scale(kernel, dtype, t):
    gradient = torch.autograd.functional.jacobian(lambda v: kernel(v, 3), torch.tensor(t, dtype=dtype))
    assert torch.isfinite(gradient).all()
    assert_close(gradient, gradient.flip(-1))


@others
@pytest.mark.parametrize("t", [0.05, 0.5, 4.0])
def test_gradients_agree_with_finite_differences(kernel, t):
    value = torch.tensor([t], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: kernel(v, 3), value)


@pytest.mark.parametrize("t", [0.01, 0.2, 1.0, 30.0])
@pytest.mark.parametrize("kernel", FINITE_AT_0)
def test_it_sums_to_1_over_all_integers(kernel, t):
    taps = kernel(torch.tensor(t, dtype=torch.float64), 80)
    assert math.fsum(taps) == pytest.approx(1, rel=1e-13)
    assert (taps >= -1e-14).all()


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_the_normalized_kernel_sums_to_1_on_any_support(radius):
    t = torch.tensor([0.0, 0.1, 50.0], dtype=torch.float64)
    assert_close(normalized_sampled_gaussian(t, radius).sum(-1), np.ones(3))


@pytest.mark.parametrize(
    ("kernel", "excess"),
    [
        (sampled_gaussian, 0),
        (normalized_sampled_gaussian, 0),
        (integrated_gaussian, 1 / 12),
        (linearly_integrated_gaussian, 1 / 6),
    ],
)
def test_at_coarse_scales_its_variance_exceeds_t_by_that_of_its_pixel(kernel, excess):
    n = torch.arange(-90, 91, dtype=torch.float64)
    taps = kernel(torch.tensor(16.0, dtype=torch.float64), 90)
    assert math.fsum(taps * n * n) == pytest.approx(16 + excess, rel=1e-12)


def test_at_fine_scales_the_sampled_gaussian_is_narrow_and_tall():
    t = 0.38**2  # its variance is that of the published training code's scale: 0.059 instead of 0.144
    n = torch.arange(-4, 5, dtype=torch.float64)
    taps = normalized_sampled_gaussian(torch.tensor(t, dtype=torch.float64), 4)
    assert (taps * n * n).sum().item() == pytest.approx(0.059, abs=5e-4)
    assert sampled_gaussian(torch.tensor(t, dtype=torch.float64), 4).max() > 1


@others
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_value_that_is_no_variance_is_refused_by_each_discretization(kernel, bad):
    with pytest.raises(ModelError, match="t is a variance and must be finite and at least 0"):
        kernel(torch.tensor([1.0, bad]), 2)


@others
def test_a_negative_radius_is_refused_by_each_discretization(kernel):
    with pytest.raises(ModelError, match="radius must be at least 0, got -2"):
        kernel(torch.ones(1), -2)


@pytest.mark.usefixtures("without_shape_checks")
@others
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16], ids=str)
def test_other_types_are_refused_by_each_discretization(kernel, dtype):
    with pytest.raises(ModelError, match=f"t must be float32 or float64, got {dtype}"):
        kernel(torch.ones(1, dtype=dtype), 2)
