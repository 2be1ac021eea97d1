"""T(n; t) = exp(-t) I_n(t) against mpmath and scipy, and the axioms of a scale-space kernel."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from scalekeys.errors import ModelError
from scalekeys.scalespace import discrete_gaussian
from tolerances import DEVICES, DTYPES, TOLERANCES, assert_close

RADIUS = 16
LANDMARKS = (0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0, 1000.0)

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
devices = pytest.mark.parametrize("device", DEVICES)
variances = st.floats(0, 1000)


def variances_to_try(count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.concatenate(
        [LANDMARKS, np.logspace(-4, 3, count), rng.uniform(0, 10, count), rng.uniform(0, 1000, count)]
    )


def wide(t: float) -> torch.Tensor:
    """The kernel on a support beyond which float64 holds nothing that matters."""
    return discrete_gaussian(torch.tensor(t, dtype=torch.float64), 25 + math.ceil(12 * math.sqrt(t)))


def half(t: torch.Tensor, **options: float) -> np.ndarray:
    return discrete_gaussian(t, RADIUS, **options)[..., RADIUS:].double().cpu().numpy()


def worst_errors(actual: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> tuple[float, float]:
    """Largest relative error where the truth is a normal number of `dtype`, and largest absolute error elsewhere."""
    normal = expected >= torch.finfo(dtype).tiny
    error = np.abs(actual - expected)
    return (error[normal] / expected[normal]).max(), error[~normal].max(initial=0.0)


@dtypes
@devices
@pytest.mark.parametrize("max_variance", [None, 1000.0])
def test_every_tap_has_the_relative_accuracy_of_the_dtype(dtype, device, max_variance):
    t = torch.tensor(variances_to_try(40), dtype=dtype, device=device)
    with mpmath.workdps(30):
        exact = [
            [mpmath.exp(-v) * mpmath.besseli(n, v) for n in range(RADIUS + 1)] for v in map(mpmath.mpf, t.tolist())
        ]
    relative, absolute = worst_errors(half(t, max_variance=max_variance), np.array(exact, dtype=np.float64), dtype)
    assert relative <= TOLERANCES[dtype].relative
    assert absolute <= torch.finfo(dtype).tiny


@dtypes
def test_it_agrees_with_scipy_on_a_dense_grid(dtype):
    t = torch.tensor(variances_to_try(2000), dtype=dtype)
    expected = special.ive(np.arange(RADIUS + 1), t.double().numpy()[:, None])
    relative, absolute = worst_errors(half(t), expected, dtype)
    assert relative <= TOLERANCES[dtype].relative
    assert absolute <= torch.finfo(dtype).tiny


@dtypes
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_no_scale_gives_exactly_the_unit_impulse(dtype, radius):
    impulse = torch.zeros(2 * radius + 1, dtype=dtype)
    impulse[radius] = 1
    assert torch.equal(discrete_gaussian(torch.zeros((), dtype=dtype), radius), impulse)


@given(variances)
def test_it_sums_to_1_and_its_variance_is_t(t):
    kernel = wide(t).numpy()
    n = np.arange(len(kernel)) - len(kernel) // 2
    assert math.fsum(kernel) == pytest.approx(1, rel=1e-14)
    assert math.fsum(n * n * kernel) == pytest.approx(t, rel=1e-12, abs=1e-300)


@given(variances)
def test_it_is_symmetric_unimodal_and_never_negative(t):
    kernel = wide(t)
    assert torch.equal(kernel, kernel.flip(-1))
    assert (kernel[len(kernel) // 2 :].diff() <= 0).all()
    assert (kernel >= 0).all()


@given(st.floats(1e-6, 1000))
def test_it_is_positive_and_strictly_unimodal_where_there_is_any_scale(t):
    kernel = half(torch.tensor(t, dtype=torch.float64))
    assert (kernel > 0).all()
    assert (np.diff(kernel) < 0).all()


@given(st.floats(0, 100), st.floats(0, 100))
def test_smoothing_twice_is_smoothing_once_with_the_sum_of_the_variances(s, t):
    both = np.convolve(wide(s), wide(t))
    centre = len(both) // 2
    once = discrete_gaussian(torch.tensor(s + t, dtype=torch.float64), 10)
    assert_close(once, both[centre - 10 : centre + 11])


@dtypes
@pytest.mark.parametrize("t", [0.0, 1e-12, 1e-3, 0.1, 1.0, 7.5, 100.0, 1000.0])
def test_its_derivative_in_scale_obeys_the_heat_equation(dtype, t):
    value = torch.tensor(t, dtype=dtype)
    derivative = torch.autograd.functional.jacobian(lambda v: discrete_gaussian(v, 5), value)
    kernel = discrete_gaussian(value, 6)
    assert_close(derivative, (kernel[:-2] - 2 * kernel[1:-1] + kernel[2:]) / 2)


@dtypes
def test_the_derivative_at_no_scale_is_exact(dtype):
    derivative = torch.autograd.functional.jacobian(lambda v: discrete_gaussian(v, 2), torch.zeros((), dtype=dtype))
    assert derivative.tolist() == [0.0, 0.5, -1.0, 0.5, 0.0]


@pytest.mark.parametrize("t", [0.0, 0.7, 20.0])
def test_the_fourth_derivative_is_the_heat_equation_applied_four_times(t):
    value = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    derivative = discrete_gaussian(value, 2)[2]
    for _ in range(4):
        (derivative,) = torch.autograd.grad(derivative, value, create_graph=True)
    kernel = discrete_gaussian(value.detach(), 4)
    weights = torch.tensor([1, -8, 28, -56, 70, -56, 28, -8, 1], dtype=torch.float64) / 16  # (1, -2, 1) / 2, four times
    assert_close(derivative.detach(), kernel @ weights, absolute=1e-13)


@devices
@pytest.mark.parametrize("t", [1e-3, 1e-2, 0.5, 20.0])
def test_first_and_second_gradients_agree_with_finite_differences(device, t):
    value = torch.tensor([t], dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: discrete_gaussian(v, 3), value)
    assert torch.autograd.gradgradcheck(lambda v: discrete_gaussian(v, 3), value)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (0, 4)])
def test_batch_axes_come_first_and_may_be_empty(shape):
    t = torch.linspace(0, 2, math.prod(shape), dtype=torch.float64).reshape(shape)
    kernels = discrete_gaussian(t, 2)
    assert kernels.shape == (*shape, 5)
    for index in np.ndindex(*shape):
        assert_close(kernels[index], discrete_gaussian(t[index], 2))


@dtypes
@devices
def test_dtype_and_device_are_those_of_the_scale(dtype, device):
    kernel = discrete_gaussian(torch.ones(2, dtype=dtype, device=device), 1)
    assert (kernel.dtype, kernel.device.type) == (dtype, device)


def test_it_maps_over_a_batch_with_vmap_when_the_length_is_given():
    t = torch.tensor([0.0, 0.4, 9.0], dtype=torch.float64)
    mapped = torch.func.vmap(lambda v: discrete_gaussian(v, 3, max_variance=9.0))(t)
    assert_close(mapped, discrete_gaussian(t, 3))


@pytest.mark.parametrize("bad", [-1e-9, -1.0, math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_variance_is_refused(bad):
    with pytest.raises(ModelError, match=r"t is a variance and must be finite and at least 0; got values in \["):
        discrete_gaussian(torch.tensor([1.0, bad, 2.0]), 3)


def test_a_negative_radius_is_refused():
    with pytest.raises(ModelError, match="radius must be at least 0, got -1"):
        discrete_gaussian(torch.ones(1), -1)


@pytest.mark.parametrize("bound", [-1.0, math.nan, math.inf])
def test_a_bound_that_is_no_variance_is_refused(bound):
    with pytest.raises(ModelError, match="max_variance must be finite and at least 0, got"):
        discrete_gaussian(torch.ones(1), 1, max_variance=bound)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16, torch.complex64], ids=str)
def test_other_types_are_refused_by_name(dtype):
    with pytest.raises(ModelError, match=f"t must be float32 or float64, got {dtype}"):
        discrete_gaussian(torch.ones(1, dtype=dtype), 1)


@pytest.mark.parametrize("radius", [0, 3, 31])
def test_where_the_expansion_takes_over_both_ways_agree_with_scipy(radius):
    edge = 4096.0 * (radius + 1) ** 2
    t = torch.tensor([edge - 1, edge + 1, 1e8], dtype=torch.float64, requires_grad=True)
    found, at = discrete_gaussian(t, radius), t.detach().numpy()[:, None]
    np.testing.assert_allclose(found.detach(), special.ive(np.arange(-radius, radius + 1), at), rtol=2e-14)
    found[:, radius].sum().backward()
    np.testing.assert_allclose(t.grad, (special.ive(1, at) - special.ive(0, at))[:, 0], rtol=1e-6)


def test_variances_without_a_bound_cost_no_more_than_others():
    """The recurrence would take 1e15 steps."""
    found = discrete_gaussian(torch.tensor([1e30]), 1)
    np.testing.assert_allclose(found, np.full((1, 3), (2 * np.pi * 1e30) ** -0.5), rtol=1e-6)
