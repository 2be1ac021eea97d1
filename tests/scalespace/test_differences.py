"""Difference operators against their formulas written out, in both windows, and the Laplacians on images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from scalekeys.errors import ModelError
from scalekeys.scalespace import (
    BACKWARD,
    CENTRAL,
    DIFFERENCES,
    FIFTH,
    FORWARD,
    FOURTH,
    IDENTITY,
    SECOND,
    SIXTH,
    THIRD,
    WINDOWS,
    Difference,
    compose,
    difference,
    difference_matrix,
    laplacian_stencil,
    mixed_stencil,
)
from tolerances import DTYPES, assert_close

FORMULAS = {
    IDENTITY.name: lambda f, n: f[n],
    FORWARD.name: lambda f, n: f[n + 1] - f[n],
    BACKWARD.name: lambda f, n: f[n] - f[n - 1],
    CENTRAL.name: lambda f, n: (f[n + 1] - f[n - 1]) / 2,
    SECOND.name: lambda f, n: f[n + 1] - 2 * f[n] + f[n - 1],
    THIRD.name: lambda f, n: (f[n + 2] - 2 * f[n + 1] + 2 * f[n - 1] - f[n - 2]) / 2,
    FOURTH.name: lambda f, n: f[n + 2] - 4 * f[n + 1] + 6 * f[n] - 4 * f[n - 1] + f[n - 2],
    FIFTH.name: lambda f, n: (f[n + 3] - 4 * f[n + 2] + 5 * f[n + 1] - 5 * f[n - 1] + 4 * f[n - 2] - f[n - 3]) / 2,
    SIXTH.name: lambda f, n: (
        f[n + 3] - 6 * f[n + 2] + 15 * f[n + 1] - 20 * f[n] + 15 * f[n - 1] - 6 * f[n - 2] + f[n - 3]
    ),
}
_ZERO = (SECOND.name, THIRD.name, FOURTH.name, FIFTH.name, SIXTH.name)
BORDERS = dict.fromkeys(FORMULAS, "symmetric") | dict.fromkeys(_ZERO, "constant")  # numpy's names: mirrored, zero

operators = pytest.mark.parametrize("operator", DIFFERENCES.values(), ids=list(DIFFERENCES))
sequences = st.lists(st.floats(-10, 10), min_size=7, max_size=9)
REACH = 3  # the largest of all


def by_formula(operator: Difference, padded: np.ndarray, margin: int) -> np.ndarray:
    """The formula at every tap that is `margin` away from the ends."""
    return np.array([FORMULAS[operator.name](padded, n) for n in range(margin, len(padded) - margin)])


def test_there_is_a_formula_for_each_operator():
    assert list(DIFFERENCES) == list(FORMULAS)
    assert all(operator.name == name for name, operator in DIFFERENCES.items())


@operators
@given(values=sequences)
def test_exact_differences_are_the_formula_at_the_taps_whose_neighbours_are_known(operator, values):
    f = np.array(values)
    assert_close(difference(torch.tensor(f), operator), by_formula(operator, f, operator.reach), absolute=1e-13)


@operators
@given(values=sequences)
def test_published_differences_are_the_formula_beyond_a_mirrored_or_zero_border(operator, values):
    padded = np.pad(np.array(values), REACH, mode=BORDERS[operator.name])
    actual = difference(torch.tensor(values, dtype=torch.float64), operator, window="published")
    assert_close(actual, by_formula(operator, padded, REACH), absolute=1e-13)


@operators
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
def test_differences_are_batched_and_keep_the_dtype(operator, dtype, window):
    f = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    batch = difference(f, operator, window)
    assert batch.dtype == dtype
    for i, j in np.ndindex(2, 3):
        assert_close(batch[i, j], difference(f[i, j], operator, window))


@operators
@pytest.mark.parametrize("margin", [REACH, 4])
def test_the_exact_matrix_differences_first_and_then_crops(operator, margin):
    wide = np.random.default_rng(1).normal(size=7 + 2 * margin)
    expected = by_formula(operator, wide, REACH)[margin - REACH : margin - REACH + 7]
    assert_close(difference_matrix(operator, 7, margin) @ torch.tensor(wide), expected)


@operators
@pytest.mark.parametrize("margin", [REACH, 4])
def test_the_published_matrix_crops_first_and_then_differences(operator, margin):
    wide = np.random.default_rng(2).normal(size=7 + 2 * margin)
    padded = np.pad(wide[margin:-margin], REACH, mode=BORDERS[operator.name])
    actual = difference_matrix(operator, 7, margin, "published") @ torch.tensor(wide)
    assert_close(actual, by_formula(operator, padded, REACH))


def test_a_matrix_may_be_changed_without_changing_the_next_one():
    difference_matrix(SECOND, 3, 1).zero_()
    assert difference_matrix(SECOND, 3, 1).diagonal(1).tolist() == [-2, -2, -2]


def test_composing_convolves_the_stencils():
    third = compose(FORWARD, BACKWARD, CENTRAL)
    stencil = [third.stencil.get(n, 0) for n in range(-2, 3)]
    assert stencil == np.convolve([1, -2, 1], [-0.5, 0, 0.5]).tolist()
    assert third.reach == 2


@pytest.mark.parametrize(("low", "high"), [(SECOND, FOURTH), (THIRD, FIFTH), (FOURTH, SIXTH)])
def test_two_orders_more_are_a_second_difference_more(low, high):
    assert {offset: weight for offset, weight in compose(SECOND, low).stencil.items() if weight} == high.stencil


def test_forward_after_backward_is_the_second_difference():
    assert dict(compose(FORWARD, BACKWARD).stencil) == dict(SECOND.stencil)


def test_composing_nothing_or_the_identity_changes_nothing():
    assert dict(compose().stencil) == {0: 1.0}
    assert compose(IDENTITY, CENTRAL).stencil == CENTRAL.stencil
    assert compose(IDENTITY, CENTRAL).name == "central"


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=9))
def test_a_composition_acts_like_its_parts_in_turn(values):
    f = torch.tensor(values, dtype=torch.float64)
    in_turn = difference(difference(f, CENTRAL), SECOND)
    assert_close(difference(f, compose(CENTRAL, SECOND)), in_turn, absolute=1e-13)


def test_an_operator_is_its_stencil_and_not_its_name():
    doubled = Difference("forward", "2δ+", {1: 2.0, 0: -2.0})
    assert_close(difference(torch.tensor([0.0, 1.0, 4.0]), doubled), np.array([6.0]))


def test_an_unknown_window_is_refused():
    with pytest.raises(ModelError, match="window must be one of 'exact', 'published', got 'round'"):
        difference_matrix(FORWARD, 3, 1, "round")


def test_a_margin_smaller_than_the_reach_is_refused():
    with pytest.raises(ModelError, match="operator 'second' needs a margin of 1 taps, got 0"):
        difference_matrix(SECOND, 3, 0)


def test_an_empty_window_is_refused():
    with pytest.raises(ModelError, match="the window must have at least 1 tap, got 0"):
        difference_matrix(SECOND, 0, 1)


def test_too_few_taps_are_refused():
    with pytest.raises(ModelError, match="operator 'central' needs at least 3 taps, got 2"):
        difference(torch.zeros(2), CENTRAL)


@pytest.mark.usefixtures("without_shape_checks")
def test_integers_are_refused_where_half_a_difference_would_be_lost():
    with pytest.raises(ModelError, match=r"a kernel must be floating-point, got torch\.int64"):
        difference(torch.tensor([0, 1, 4]), CENTRAL)


@given(gamma=st.floats(0, 1), seed=st.integers(0, 1000))
def test_the_laplacian_is_its_formula_on_images(gamma, seed):
    f = np.random.default_rng(seed).normal(size=(6, 7))
    n, s, w, e, c = f[:-2, 1:-1], f[2:, 1:-1], f[1:-1, :-2], f[1:-1, 2:], f[1:-1, 1:-1]
    five_point = (w - 2 * c + e) + (n - 2 * c + s)
    cross = (f[:-2, :-2] + f[:-2, 2:] + f[2:, :-2] + f[2:, 2:]) / 2 - 2 * c
    actual = conv2d(torch.tensor(f)[None, None], laplacian_stencil(gamma)[None, None])[0, 0]
    assert_close(actual, (1 - gamma) * five_point + gamma * cross, absolute=1e-13)


def test_gamma_of_a_third_gives_the_classical_nine_point_stencil():
    assert_close(laplacian_stencil(1 / 3), np.array([[1, 4, 1], [4, -20, 4], [1, 4, 1]]) / 6)


@pytest.mark.parametrize(("gamma", "isotropic"), [(0.0, False), (1 / 3, True), (0.5, False), (1.0, False)])
def test_gamma_of_a_third_alone_answers_alike_to_a_quartic_along_every_direction(gamma, isotropic):
    x, y = torch.arange(-1.0, 2.0, dtype=torch.float64), torch.arange(1.0, -2.0, -1.0, dtype=torch.float64)[:, None]
    answers = [
        (laplacian_stencil(gamma) * (math.cos(angle) * x + math.sin(angle) * y) ** 4).sum().item()
        for angle in (0, math.pi / 8, math.pi / 4, 1.3)
    ]
    assert (np.ptp(answers) < 1e-14) == isotropic


@pytest.mark.parametrize("gamma", [0.0, 1 / 3, 1.0])
def test_the_laplacian_of_a_paraboloid_is_4(gamma):
    x, y = torch.arange(-1.0, 2.0, dtype=torch.float64), torch.arange(1.0, -2.0, -1.0, dtype=torch.float64)[:, None]
    assert_close((laplacian_stencil(gamma) * (x * x + y * y)).sum(), np.array(4.0))


def test_the_mixed_difference_of_x_times_y_is_1_when_y_points_up():
    x, y = torch.arange(-1.0, 2.0, dtype=torch.float64), torch.arange(1.0, -2.0, -1.0, dtype=torch.float64)[:, None]
    assert (mixed_stencil() * x * y).sum().item() == 1.0


def test_the_mixed_difference_is_the_two_central_differences_in_turn():
    f = np.random.default_rng(3).normal(size=(6, 7))
    along_x = (f[:, 2:] - f[:, :-2]) / 2
    expected = (along_x[:-2] - along_x[2:]) / 2  # up is towards smaller rows
    assert_close(conv2d(torch.tensor(f)[None, None], mixed_stencil()[None, None])[0, 0], expected)
