"""Folded profiles as series in the search coordinate, against the templates that they are tabulated from."""

import math

import numpy as np
import pytest
import torch
from derivative_tables import profile_table

from scalekeys.fitting.templates.axis_profiles import AxisProfiles, chebyshev
from scalekeys.fitting.templates.grid import bend_of
from scalekeys.scalespace import (
    DIFFERENCES,
    IMPULSE,
    Family,
    TemplatePlan,
    Term,
    per_axis,
    variance_at,
)
from scalekeys.scalespace.gaussian import expansion

SIDES = [2, 3, 4, 7, 8, 15, 31]
WITH_LIMITS = ("identity", "central", "forward", "backward", "second")  # operators of families that have limits


def taps_of(profiles: AxisProfiles, number: int, table: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ct,dcn->dtn", profiles.folds[number], table[:, :-1])


def worst(found, expected):
    """Largest error in units of the largest tap, by order of differentiation."""
    scale = expected.abs().amax(dim=(1, 2)).clamp(min=1e-3)
    return ((found - expected).abs().amax(dim=(1, 2)) / scale).tolist()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("side", "window"), [(side, "exact") for side in SIDES] + [(side, "published") for side in SIDES if side % 2]
)
def test_plain_profiles_are_those_of_templates_with_two_derivatives(side, window, axis):
    bend = bend_of((side,))
    names = [*DIFFERENCES, IMPULSE]
    profiles = AxisProfiles(names, side, axis, window, bend, plain=True)
    u = torch.tensor([0.0, 0.02, 0.3, 0.6, side / (1 + side)], dtype=torch.float64)
    for number, (name, table) in enumerate(zip(names, profiles(u), strict=True)):
        expected = profile_table(name, side, window, axis, u, bend)
        value, first, second = worst(taps_of(profiles, number, table), expected)
        assert value < 1e-11
        assert first < 1e-6  # a series loses digits with each derivative; a search needs few of them
        assert second < 1e-3
        means = expected.sum(1) / math.sqrt(side)
        np.testing.assert_allclose(table[0, -1], means[0], atol=1e-11)


@pytest.mark.parametrize("side", SIDES)
def test_profiles_up_to_infinity_differ_from_templates_by_a_factor_alone(side):
    bend, u = bend_of((side,)), torch.tensor([0.0, 0.1, 0.5, 0.9, 0.99, 0.9999], dtype=torch.float64)
    for name in WITH_LIMITS:
        profiles = AxisProfiles([name], side, 0, "exact", bend)
        (table,) = profiles(u)
        expected = profile_table(name, side, "exact", 0, u, bend)[0]
        found = taps_of(profiles, 0, table)[0] * (1 - u) ** profiles.base
        np.testing.assert_allclose(found / expected.abs().amax(0), expected / expected.abs().amax(0), atol=1e-9)


def polynomial(name, side):
    """The limit of a profile along one axis: centred, of norm 1, or blank where the profile is constant."""
    own = Family(name, "", "", ((Term((name,)),),), per_axis(1))
    plan = TemplatePlan(own, (side,), "exact")
    for row in plan.expanded(name, 0, torch.tensor(math.inf).double()):
        centred = row - row.mean()
        if centred.norm() > 1e-9:
            return centred / centred.norm()
    return torch.zeros(side, dtype=torch.float64)


@pytest.mark.parametrize("side", [2, 3, 4, 7, 8, 15])
def test_at_the_end_the_deviations_from_the_mean_are_the_polynomial(side):
    end = torch.tensor([1 - 1e-8], dtype=torch.float64)
    for name in WITH_LIMITS:
        wanted = polynomial(name, side)
        profiles = AxisProfiles([name], side, 0, "exact", bend_of((side,)))
        taps = taps_of(profiles, 0, profiles(end)[0])[0, :, 0]
        if name in ("identity", "second"):  # the first vector of the fold is constant
            coordinates = profiles(end)[0][0, :-1, 0].clone()
            coordinates[0] = 0.0
            taps = coordinates @ profiles.folds[0]
        centred = taps - taps.mean()
        length = centred.norm()
        assert (wanted != 0).any() == (len(profiles.folds[0]) > (name in ("identity", "second")))
        if (wanted != 0).any():
            np.testing.assert_allclose(centred / length, wanted, atol=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_folds_are_orthonormal_and_as_short_as_the_symmetry_allows(side):
    profiles = AxisProfiles([*DIFFERENCES, IMPULSE], side, 0, "exact", bend_of((side,)), plain=True)
    sizes = {}
    for name, fold, one in zip(profiles.operators, profiles.folds, profiles.ones, strict=True):
        np.testing.assert_allclose(fold @ fold.T, np.eye(len(fold)), atol=1e-12)
        np.testing.assert_allclose(one, fold.sum(1) / math.sqrt(side), atol=1e-12)
        sizes[name] = len(fold)
    assert sizes["identity"] == sizes["second"] == sizes["fourth"] == (side + 1) // 2
    if side > 1:
        assert sizes["central"] == sizes["third"] == side // 2
        assert sizes[IMPULSE] == 1


def test_two_profiles_have_the_products_of_their_taps():
    profiles = AxisProfiles(["identity", "central", "second"], 7, 0, "exact", 7.0)
    u = torch.tensor([0.05, 0.4], dtype=torch.float64)
    tables = profiles(u)
    for first in range(3):
        for second in range(3):
            a, b = (taps_of(profiles, number, tables[number])[0] for number in (first, second))
            crossing = profiles.crossing(first, profiles, second)
            found = torch.einsum("an,ab,bn->n", tables[first][0, :-1], crossing, tables[second][0, :-1])
            deviations = ((a - a.mean(0)) * (b - b.mean(0))).sum(0)
            np.testing.assert_allclose(found, deviations, atol=1e-12)


def test_chebyshev_polynomials_are_those_of_numpy():
    position = torch.linspace(-1, 1, 41, dtype=torch.float64)
    for length in (17, 33, 65, 129):
        expected = np.polynomial.chebyshev.chebvander(position.numpy(), length - 1).T
        np.testing.assert_allclose(chebyshev(position, length), expected, atol=1e-11)


def test_the_series_of_a_kernel_is_the_one_of_the_limit():
    # Far out, T is 1 / sqrt(2 pi t) times its expansion, which the profile approaches.
    u = torch.tensor([0.9999], dtype=torch.float64)
    profiles = AxisProfiles(["identity"], 5, 0, "exact", 5.0)
    t = variance_at(u, 5.0)
    taps = taps_of(profiles, 0, profiles(u)[0])[0, :, 0] * (1 - u) ** profiles.base
    series = sum(row / t**k for k, row in enumerate(expansion(2))) / torch.sqrt(2 * math.pi * t)
    np.testing.assert_allclose(taps, series, rtol=1e-9)
