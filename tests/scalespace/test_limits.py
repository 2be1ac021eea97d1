"""Receptive fields at infinite scales: polynomials, against enormous finite scales in many digits."""

import math

import mpmath
import numpy as np
import pytest
import torch

import independent
from scalekeys.errors import ModelError
from scalekeys.scalespace import families, ideal, second_order, template, template_plan
from scalekeys.scalespace.gaussian import expansion
from scalekeys.scalespace.limits import limit_template
from tolerances import assert_close

ENORMOUS = mpmath.mpf(10) ** 12  # a variance; what is left of the way to infinity is of this order
SIZES = [(5,), (4,), (3, 3), (7, 5), (4, 4), (3, 4, 3)]


def in_digits(difference, side, t):
    """A profile as an array of numbers of 60 digits."""
    taps = [mpmath.mpf(2 * n - side + 1) / 2 for n in range(side)]
    weights = (independent.AT_INTEGERS if side % 2 else independent.HALF_WAY)[difference]
    kernel = {n: mpmath.besseli(n, t) * mpmath.exp(-t) for n in range(side // 2 + 3)}
    return np.array([sum(mpmath.mpf(w) * kernel[int(abs(n + offset))] for offset, w in weights.items()) for n in taps])


def far_away(name, size, variances):
    """A centred receptive field of norm 1, by the definitions, with enormous variances."""
    with mpmath.workdps(60):
        field = independent.receptive_field(name, size, variances, in_digits)
        field = field - field.sum() / field.size
        return (field / mpmath.sqrt((field * field).sum())).astype(float)


def single(axes):
    return [name for name in (*ideal(axes), *second_order(axes)) if name != "sharpen"]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_limit_is_where_enormous_scales_lead(size):
    for name in single(len(size)):
        infinite = template(name, torch.full((len(size),), math.inf, dtype=torch.float64), size)
        np.testing.assert_allclose(infinite, far_away(name, size, [ENORMOUS] * len(size)), atol=1e-10)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("size", [(5, 7), (4, 3)], ids=str)
def test_one_scale_may_be_infinite_alone(size, place):
    for name in single(2):
        sigma = torch.tensor([0.9, 0.9], dtype=torch.float64)
        sigma[place] = math.inf
        variances = [mpmath.mpf("0.81")] * 2
        variances[place] = ENORMOUS
        np.testing.assert_allclose(template(name, sigma, size), far_away(name, size, variances), atol=1e-10)


@pytest.mark.parametrize("side", [2, 3, 4, 7])
def test_limits_along_one_axis_are_the_polynomials_of_the_method(side):
    n = np.arange(side) - (side - 1) / 2
    parabola, ramp = n**2 - (n**2).mean(), n
    infinite = torch.tensor([math.inf], dtype=torch.float64)
    for name, wanted in (("smooth", -parabola), ("dx", -ramp), ("dx+", -ramp), ("dx-", -ramp), ("dxx", parabola)):
        norm = np.linalg.norm(wanted)
        expected = wanted / norm if norm > 1e-9 else np.zeros(side)
        assert_close(template(name, infinite, (side,)), expected, absolute=1e-12)


@pytest.mark.parametrize("name", ["smooth", "dx+", "dy", "dxx", "dxy", "laplacian"])
def test_finite_scales_approach_the_limit(name):
    limit = template(name, torch.full((2,), math.inf, dtype=torch.float64), (5, 5))
    away = []
    for sigma in (10.0, 20.0, 40.0):
        field = template(name, torch.full((2,), sigma, dtype=torch.float64), (5, 5))
        field = field - field.mean()
        away.append(float((field / field.norm() - limit).norm()))
    assert away[0] < 0.1
    assert away[1] < 0.3 * away[0]
    assert away[2] < 0.3 * away[1] + 1e-6


def test_a_batch_may_mix_finite_and_infinite_scales():
    sigma = torch.tensor([[[0.7, 1.2]], [[math.inf, 1.2]], [[math.inf, math.inf]]], dtype=torch.float64)
    fields = template("dx+", sigma, (3, 5))
    assert fields.shape == (3, 1, 3, 5)
    for field, own in zip(fields[:, 0], sigma[:, 0], strict=True):
        assert_close(field, template("dx+", own, (3, 5)))
    assert template("dx+", sigma.float(), (3, 5)).dtype == torch.float32


def test_a_constant_limit_is_blank():
    infinite = torch.full((2,), math.inf, dtype=torch.float64)
    assert not template("dx", infinite, (3, 1)).any()
    assert not template("smooth", infinite, (1, 2)).any()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_families_without_a_limit_of_their_own_are_refused(axes):
    for name in ("sharpen", "dog"):
        count = len(families(axes)[name].parametrization.names)
        plan = template_plan(name, (3,) * axes)
        with pytest.raises(ModelError, match=f"family '{name}' has no template at an infinite scale of its own"):
            limit_template(plan, torch.full((1, count), math.inf))


def test_the_expansion_is_that_of_bessel_functions():
    t = mpmath.mpf(10) ** 5
    terms = expansion(3)
    with mpmath.workdps(40):
        exact = [mpmath.sqrt(2 * mpmath.pi * t) * mpmath.exp(-t) * mpmath.besseli(n, t) for n in (3, 2, 1, 0, 1, 2, 3)]
    series = sum(row / float(t) ** k for k, row in enumerate(terms))
    np.testing.assert_allclose(series, np.array(exact, dtype=float), rtol=1e-15)
