"""Second derivatives and the difference of two smoothings, against their definitions with scipy's Bessel functions."""

import numpy as np
import pytest
import torch
from scipy.special import ive

from scalekeys.scalespace import FAMILIES, GAP, ORIENTED, SECOND_ORDER, family, template

SIZES = [(7, 7), (3, 3), (5, 9), (1, 7)]


def _defined(name, tx, ty, size):
    def g(x, y, t=None):
        return ive(np.abs(x), tx if t is None else t) * ive(np.abs(y), ty if t is None else t)

    rows, cols = np.mgrid[: size[0], : size[1]]
    x, y = cols - size[1] // 2, size[0] // 2 - rows
    second_x = g(x + 1, y) - 2 * g(x, y) + g(x - 1, y)
    second_y = g(x, y + 1) - 2 * g(x, y) + g(x, y - 1)
    return {
        "dxx": second_x,
        "dyy": second_y,
        "dxy": (g(x + 1, y + 1) - g(x - 1, y + 1) - g(x + 1, y - 1) + g(x - 1, y - 1)) / 4,
        "laplacian": second_x + second_y,
        "dog": g(x, y, tx) - g(x, y, ty),
    }[name]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", [*SECOND_ORDER, "dog"])
def test_a_family_is_what_its_formula_says(name, size):
    for tx, ty in [(0.0, 1.3), (0.6, 0.9), (2.5, 7.0)]:
        found = template(name, torch.tensor([tx, ty], dtype=torch.float64).sqrt(), size)
        np.testing.assert_allclose(found, _defined(name, tx, ty, size), atol=1e-13)


def test_the_laplacian_is_the_sum_of_the_second_derivatives_and_not_isotropic_by_force():
    sigma = torch.tensor([0.5, 1.5], dtype=torch.float64)
    total = template("dxx", sigma) + template("dyy", sigma)
    np.testing.assert_allclose(template("laplacian", sigma), total, atol=1e-15)
    assert family("laplacian").parametrization.names == ("tx", "ty")
    assert not family("laplacian").is_outer_product


def test_a_difference_of_two_close_smoothings_is_a_laplacian():
    # The heat equation: T(t + d) - T(t) is d / 2 times the Laplacian half way between, to second order in d.
    t = 0.8
    dog = template("dog", torch.tensor([t, t + GAP], dtype=torch.float64).sqrt())
    laplacian = template("laplacian", torch.tensor([t + GAP / 2, t + GAP / 2], dtype=torch.float64).sqrt())
    np.testing.assert_allclose(dog, -GAP / 2 * laplacian, atol=1e-3 * GAP)


def test_the_families_that_stand_beyond_the_eight_and_the_jets():
    assert list(FAMILIES)[11:] == ["dxx", "dyy", "dxy", "laplacian", "dog", *ORIENTED, "jet6"]
