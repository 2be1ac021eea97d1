"""Families by one rule for kernels of one, two or three axes, and half-sample operators on even sides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import independent
from scalekeys.errors import ModelError
from scalekeys.scalespace import (
    BACKWARD,
    DIFFERENCES,
    FAMILIES,
    FORWARD,
    IDENTITY,
    ORIENTED,
    compose,
    families,
    family,
    ideal,
    second_order,
    template,
    template_plan,
)
from tolerances import assert_close

SIZES = [(1,), (2,), (5,), (4,), (16,), (4, 4), (2, 5), (8, 1), (3, 6), (1, 1), (3, 3, 3), (2, 3, 4), (1, 4, 5)]
SINGLE = {axes: (*ideal(axes), *second_order(axes), "dog") for axes in (1, 2, 3)}

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
axes_ = pytest.mark.parametrize("axes", [1, 2, 3])


def scales_of(name, axes):
    """Several scales of a family, and what `template` and the independent formula take."""
    for sigma in ([0.0, 0.4, 1.7], [0.6, 0.9, 0.5], [2.5, 7.0, 3.0]):
        if name == "dog":
            yield torch.tensor(sorted(sigma)[::2], dtype=torch.float64), {}, np.square(sorted(sigma)[::2])
        elif name == "sharpen":
            yield torch.tensor(sigma[:axes], dtype=torch.float64), {"alpha": 0.7}, (sigma[0] ** 2, 0.7)
        else:
            yield torch.tensor(sigma[:axes], dtype=torch.float64), {}, np.square(sigma[:axes])


@sizes
def test_every_family_is_what_its_formula_says(size):
    for name in SINGLE[len(size)]:
        for sigma, options, parameters in scales_of(name, len(size)):
            expected = independent.receptive_field(name, size, parameters)
            assert_close(template(name, sigma, size, **options), expected, absolute=1e-13)


@pytest.mark.parametrize("size", [(5,), (4, 5), (2, 3, 3)], ids=str)
def test_a_jet_has_every_derivative_up_to_its_order_once(size):
    axes = len(size)
    variances = [0.8, 1.9, 0.3][:axes]
    orders = {"identity": 0, "central": 1, "second": 2, "third": 3}
    fields = template_plan("jet3", size)(torch.tensor([variances], dtype=torch.float64))[0]
    powers = [p for p in np.ndindex(*(4,) * axes) if sum(p) <= 3]
    assert len(fields) == len(powers)
    expected = [independent.separable("".join("1023"[power] for power in p), size, variances) for p in powers]
    for wanted in expected:
        assert min(float((field - torch.from_numpy(wanted)).abs().max()) for field in fields) < 1e-13
    totals = [sum(map(orders.get, term.operators)) for (term,) in family("jet3", axes).components]
    assert totals == sorted(map(sum, powers))


@axes_
def test_there_are_three_for_each_axis_and_two_more(axes):
    assert len(ideal(axes)) == 3 * axes + 2
    assert ideal(axes)[-2:] == ("sharpen", "smooth")
    assert set(ideal(axes)[:-2]) == {f"d{axis}{kind}" for axis in "xyz"[:axes] for kind in ("+", "-", "")}
    assert len(second_order(axes)) == axes * (axes + 1) // 2 + (axes > 1)


def test_fewer_axes_have_the_names_of_more():
    assert set(families(1)) < set(families(2)) - {*ORIENTED} < set(families(3))
    assert families(2) is FAMILIES
    assert set(families(1)) == {*ideal(1), "jet1", "jet2", "jet3", "jet6", "dxx", "dog"}


@pytest.mark.parametrize(("axes", "jet1", "jet2", "jet6"), [(1, 2, 3, 7), (2, 3, 6, 28), (3, 4, 10, 84)])
def test_numbers_of_a_model_are_parameters_coefficients_and_an_offset(axes, jet1, jet2, jet6):
    for name, components in (("jet1", jet1), ("jet2", jet2), ("jet6", jet6)):
        found = family(name, axes)
        assert len(found.components) == found.coefficients == components
        assert found.numbers == axes + components + 1
    assert family("smooth", axes).numbers == axes + 2
    assert family("sharpen", axes).numbers == family("dog", axes).numbers == 4


def test_orders_and_differences_stand_in_the_order_of_the_axes():
    assert [family(name, 3).order for name in ("dx+", "dy", "dz-", "dxz", "smooth")] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 0, 1),
        (0, 0, 0),
    ]
    assert family("dxz", 3).differentiated == (True, False, True)
    assert family("laplacian", 3).differentiated == family("jet1", 3).differentiated == (True, True, True)
    assert family("dog", 3).differentiated == family("smooth", 3).differentiated == (False, False, False)


def test_outer_products_are_those_of_one_term_with_a_scale_for_each_axis():
    found = {name for name, own in families(3).items() if own.is_outer_product}
    assert found == {*ideal(3)} - {"sharpen"} | {"dxx", "dyy", "dzz", "dxy", "dxz", "dyz"}


def test_words_and_formulas_differ_between_families_and_name_their_axes():
    for axes in (1, 2, 3):
        own = families(axes).values()
        assert len({one.words for one in own}) == len({one.formula for one in own}) == len(own)
        assert all(("y" in one.formula) == (axes > 1) for one in own if one.name == "smooth")
    assert family("dz", 3).formula == "T(x; tx) · T(y; ty) · δz T(z; tz)"


@pytest.mark.parametrize("axes", [0, 4, -1])
def test_other_numbers_of_axes_are_refused(axes):
    with pytest.raises(ModelError, match=f"kernels have 1, 2 or 3 axes, got {axes}"):
        families(axes)


def test_a_family_of_more_axes_is_refused_by_the_number_of_axes():
    with pytest.raises(
        ModelError, match=r"no family of kernels with 1 axis is called 'dy'; the families are dx-, dx\+"
    ):
        family("dy", 1)
    with pytest.raises(ModelError, match="no family of kernels with 3 axes is called 'dw'"):
        family("dw", 3)


@axes_
@settings(max_examples=10)
@given(data=st.data())
def test_mirroring_an_axis_turns_forward_into_minus_backward(axes, data):
    size = data.draw(st.tuples(*[st.integers(2, 5)] * axes))
    sigma = torch.tensor(data.draw(st.tuples(*[st.floats(0, 3)] * axes)), dtype=torch.float64)
    for axis, name in enumerate("xyz"[:axes]):
        mirrored = template(f"d{name}+", sigma, size).flip(axes - 1 - axis)
        assert_close(mirrored, -template(f"d{name}-", sigma, size))


@settings(max_examples=10)
@given(
    size=st.tuples(*[st.integers(1, 5)] * 3),
    sigma=st.tuples(*[st.floats(0, 3)] * 3),
    order=st.permutations([0, 1, 2]),
)
def test_exchanging_axes_exchanges_the_families_along_them(size, sigma, order):
    # Upwards is against the rows: with y laid along them as the others are, all axes are alike.
    def upright(name, sides, scales):
        return template(name, torch.tensor(scales, dtype=torch.float64), sides[::-1]).flip(1)

    sides = size[::-1]
    moved = [sides[axis] for axis in order], [sigma[axis] for axis in order]
    for place, axis in enumerate(order):
        turned = upright(f"d{'xyz'[place]}+", *moved).permute(2, 1, 0)
        field = upright(f"d{'xyz'[axis]}+", sides, sigma).permute(2, 1, 0)
        assert_close(turned, field.permute(*order))


@pytest.mark.parametrize("side", [2, 4, 8])
def test_an_even_smoothing_is_wider_by_a_quarter_and_a_ramp_answers_with_one(side):
    t, wide = 0.9, 60 + side
    n = np.arange(wide) - (wide - 1) / 2
    smooth = template("smooth", torch.tensor([t**0.5], dtype=torch.float64), (wide,)).numpy()
    assert smooth.sum() == pytest.approx(1, abs=1e-12)
    assert (n * n * smooth).sum() == pytest.approx(t + 0.25, abs=1e-11)
    for name in ("dx", "dx+", "dx-"):
        kernel = template(name, torch.tensor([t**0.5], dtype=torch.float64), (wide,)).numpy()
        assert kernel.sum() == pytest.approx(0, abs=1e-12)
        assert (kernel * -n).sum() == pytest.approx(1, abs=1e-11)
    centre = (n * np.abs(template("dx+", torch.tensor([t**0.5], dtype=torch.float64), (wide,)).numpy())).sum()
    assert centre < 0  # one-sided: it leans to one of the two middle taps


def test_two_taps_have_their_mean_and_their_difference():
    zero = torch.zeros(1, dtype=torch.float64)
    assert template("smooth", zero, (2,)).tolist() == [0.5, 0.5]
    assert template("dx", zero, (2,)).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("operator", DIFFERENCES.values(), ids=list(DIFFERENCES))
def test_half_sample_operators_keep_the_moments_of_the_others(operator):
    # Up to its order, an operator answers to powers of the coordinate as the derivative does.
    names = ["identity", "forward", "backward", "central", "second", "third", "fourth", "fifth", "sixth"]
    order = {"forward": 1, "backward": 1, "central": 1}.get(operator.name, max(names.index(operator.name) - 2, 0))
    assert operator.half is not None
    for power in range(order + 1):
        answer = sum(weight * offset**power for offset, weight in operator.half.items())
        assert answer == pytest.approx(float(np.prod(range(1, order + 1))) if power == order else 0.0, abs=1e-12)
    assert all(offset % 1 == 0.5 for offset in operator.half)


def test_on_even_sides_an_operator_without_a_half_sample_form_is_refused():
    both = compose(FORWARD, BACKWARD)
    assert both.on(3) is both.stencil
    assert IDENTITY.on(4) is IDENTITY.half
    with pytest.raises(ModelError, match="operator 'forward·backward' has no form on an even number of taps, got 4"):
        both.on(4)
