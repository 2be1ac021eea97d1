"""What fits to sums of absolute differences are made of: exact coefficients, lines, and derivatives of residuals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from scalekeys.fitting.solvers.linear_l1 import least_absolute
from scalekeys.fitting.solvers.lines import fitted_lines
from scalekeys.fitting.templates.grid import family_grid
from scalekeys.fitting.templates.residuals import Residuals
from scalekeys.scalespace import common, family


@pytest.mark.parametrize("unknowns", [2, 4])
def test_coefficients_are_those_of_a_linear_programme(unknowns):
    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(5, 25, unknowns, generator=generator, dtype=torch.float64)
    targets = torch.randn(5, 25, generator=generator, dtype=torch.float64)
    _, residual = least_absolute(basis, targets)
    for b, h, left in zip(basis.numpy(), targets.numpy(), residual, strict=True):
        cost = np.r_[np.zeros(unknowns), np.ones(50)]
        equal = np.hstack([b, np.eye(25), -np.eye(25)])
        bounds = [(None, None)] * unknowns + [(0, None)] * 50
        best = optimize.linprog(cost, A_eq=equal, b_eq=h, bounds=bounds)
        assert float(left.abs().sum()) == pytest.approx(best.fun, rel=1e-6)


@pytest.mark.parametrize("case", ["noise", "exact", "flat", "two taps"])
def test_lines_are_those_of_the_linear_programme(case):
    draw = torch.Generator().manual_seed(9)
    basis = torch.stack([torch.randn(25, 6, generator=draw), torch.full((25, 6), 0.2)]).double()
    targets = torch.randn(25, 6, generator=draw).double()
    if case == "exact":
        targets = 2.0 * basis[0] - basis[1]
    elif case == "flat":
        basis[0] = 0.2 + 1e-6 * basis[0]
    elif case == "two taps":
        basis[0] = 0.0
        basis[0, 3], basis[0, 4] = 1.0, -1.0
    left = (targets - (basis * fitted_lines(targets, basis)[:, None]).sum(0)).abs().sum(0)
    for column in range(6):
        b, bounds = basis[:, :, column].T.numpy(), [(None, None)] * 2 + [(0, None)] * 50
        equal = np.hstack([b, np.eye(25), -np.eye(25)])
        best = optimize.linprog(np.r_[0, 0, np.ones(50)], A_eq=equal, b_eq=targets[:, column].numpy(), bounds=bounds)
        assert float(left[column]) == pytest.approx(best.fun, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("one_scale", [False, True])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dx", (5, 7)),
        ("dy+", (4, 5)),
        ("sharpen", (5, 7)),
        ("smooth", (5, 7)),
        ("jet2", (5, 7)),
        ("dx-", (9,)),
        ("jet2", (8,)),
        ("dz", (3, 3, 3)),
        ("jet1", (3, 2, 3)),
    ],
    ids=str,
)
def test_derivatives_are_those_of_differences(name, size, one_scale):
    own = family(name, len(size))
    if one_scale and name != "sharpen":
        own = replace(own, parametrization=common(len(size)))
    grid, count, draw = family_grid(own, size, "exact"), 3, torch.Generator().manual_seed(10)
    coordinates = 0.1 + 0.5 * torch.rand(grid.parameters, count, generator=draw).double()
    linear = torch.randn(own.coefficients + 1, count, generator=draw).double()
    targets = torch.randn(math.prod(size), count, generator=draw).double()
    units = torch.full((own.coefficients, count), 0.7).double()
    _check_derivatives(Residuals(grid.whole, targets, units=units), torch.cat([coordinates, linear]), grid.parameters)
    if not own.mixed:  # whose one amplitude may be fixed
        _check_derivatives(Residuals(grid.true_whole, targets, amplitudes=linear[0]), coordinates, grid.parameters)


def _check_derivatives(residuals, parameters, scales, eps=0.1, step=1e-5):
    def value_and_derivatives(p):
        moving = residuals.moving(p[:scales])
        r = residuals(p, moving)
        tips = torch.sqrt(r.square() + eps**2)
        return tips.sum(0), *residuals.derivatives(p, moving, r / tips, eps**2 / tips**3, r / tips)

    _, gradient, hessian = value_and_derivatives(parameters)
    for i in range(len(parameters)):
        change = torch.zeros_like(parameters)
        change[i] = step
        high, up, _ = value_and_derivatives(parameters + change)
        low, down, _ = value_and_derivatives(parameters - change)
        np.testing.assert_allclose((high - low) / (2 * step), gradient[i], atol=1e-6)
        np.testing.assert_allclose((up - down) / (2 * step), hessian[i], atol=1e-4)
