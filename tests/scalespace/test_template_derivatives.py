"""The derivatives of a plan in both of its parameters against automatic differentiation of its template."""

import pytest
import torch
from torch.func import hessian, jacfwd, jacrev

from scalekeys.scalespace import IDEAL8, WINDOWS, template_plan
from tolerances import DTYPES, assert_close

POINTS = torch.tensor([[0.0, 0.0], [0.0, 0.8], [0.3, 1.7], [2.0, 0.4], [9.0, 25.0]], dtype=torch.float64)
MAX_VARIANCE = 25.0

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, in torch.func


@pytest.mark.parametrize("name", IDEAL8)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(7, 5), (3, 3)], ids=str)
def test_first_and_second_derivatives_are_those_of_automatic_differentiation(name, window, size):
    plan = template_plan(name, size, window)
    expected = torch.stack([_by_autograd(plan, point) for point in POINTS])
    assert_close(plan(POINTS, MAX_VARIANCE, order=2), expected, absolute=1e-13)


def _by_autograd(plan, point):
    def kernel(parameters):
        return plan(parameters[None], MAX_VARIANCE)[0, 0]

    first, second = jacfwd(kernel)(point), jacfwd(jacfwd(kernel))(point)
    derivatives = [first[..., 0], first[..., 1], second[..., 0, 0], second[..., 0, 1], second[..., 1, 1]]
    return torch.stack([kernel(point), *derivatives])


@pytest.mark.parametrize("name", ["dy+", "sharpen"])
def test_reverse_mode_agrees_with_them_too(name):
    plan = template_plan(name, (3, 5))
    value = plan(POINTS[2:3], MAX_VARIANCE, order=2)[0]

    def kernel(parameters):
        return plan(parameters[None], MAX_VARIANCE)[0, 0]

    assert_close(jacrev(kernel)(POINTS[2]).movedim(-1, 0), value[1:3])
    assert_close(hessian(kernel)(POINTS[2])[..., 0, 1], value[4], absolute=1e-13)


@pytest.mark.parametrize("name", IDEAL8)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_order_0_is_the_first_of_order_2_in_the_dtype_of_the_parameters(name, dtype):
    plan = template_plan(name, (5, 5))
    everything = plan(POINTS.to(dtype), order=2)
    assert everything.shape == (5, 6, 5, 5)
    assert everything.dtype == dtype
    assert_close(plan(POINTS.to(dtype)), everything[:, :1])


def test_no_parameters_give_no_templates():
    assert template_plan("dx", (3, 3))(torch.empty(0, 2), order=2).shape == (0, 6, 3, 3)
