"""The derivatives of a plan in both of its parameters against automatic differentiation of its template."""

import pytest
import torch
from torch.func import jvp

from scalekeys.scalespace import IDEAL8, WINDOWS, template_plan
from tolerances import DTYPES, assert_close

POINTS = torch.tensor([[0.0, 0.0], [0.0, 0.8], [0.3, 1.7], [2.0, 0.4], [9.0, 25.0]], dtype=torch.float64)
MAX_VARIANCE = 25.0

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, in torch.func


@pytest.mark.parametrize("name", IDEAL8)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(7, 5), (3, 3), (1, 7)], ids=str)
def test_first_and_second_derivatives_are_those_of_automatic_differentiation(name, window, size):
    plan = template_plan(name, size, window)

    def kernels(parameters):
        return plan(parameters, MAX_VARIANCE)[:, 0, 0]

    def along(function, axis):
        direction = torch.eye(2, dtype=POINTS.dtype)[axis].expand_as(POINTS)
        return lambda parameters: jvp(function, (parameters,), (direction,))[1]

    first, second = along(kernels, 0), along(kernels, 1)
    functions = [kernels, first, second, along(first, 0), along(first, 1), along(second, 1)]
    expected = torch.stack([function(POINTS) for function in functions], dim=1)
    assert_close(plan(POINTS, MAX_VARIANCE, order=2)[:, :, 0], expected, absolute=1e-13)


@pytest.mark.parametrize("name", ["dy+", "sharpen"])
def test_first_and_second_derivatives_are_those_of_reverse_mode_too(name):
    plan = template_plan(name, (3, 5))
    derivatives = plan(POINTS, MAX_VARIANCE, order=2)
    weights = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(3, 5)
    parameters = POINTS.clone().requires_grad_()
    (first,) = torch.autograd.grad((plan(parameters)[:, 0, 0] * weights).sum(), parameters, create_graph=True)
    (mixed,) = torch.autograd.grad(first[:, 0].sum(), parameters)
    weighted = (derivatives[:, :, 0] * weights).sum((-2, -1))
    assert_close(first.detach(), weighted[:, 1:3], absolute=1e-13)
    assert_close(mixed, weighted[:, 3:5], absolute=1e-13)


@pytest.mark.parametrize("name", IDEAL8)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_order_0_is_the_first_of_order_2_in_the_dtype_of_the_parameters(name, dtype):
    plan = template_plan(name, (5, 5))
    everything = plan(POINTS.to(dtype), order=2)
    assert everything.shape == (5, 6, 1, 5, 5)
    assert everything.dtype == dtype
    assert_close(plan(POINTS.to(dtype)), everything[:, :1])


def test_no_parameters_give_no_templates():
    assert template_plan("dx", (3, 3))(torch.empty(0, 2), order=2).shape == (0, 6, 1, 3, 3)
