"""Constrained kernels of one to three axes, from the numbers of filters without a fit."""

import itertools

import numpy as np
import pytest
import torch
from depthwise_network import random_filters
from scipy.special import ive
from torch.func import functional_call

from scalekeys.networks.constrained.differentiable_profiles import ceiling, largest_variance
from scalekeys.networks.constrained.finite_start import with_finite_scales
from scalekeys.networks.constrained.fitted_filters import FittedFilters, has_two_scales
from scalekeys.networks.constrained.learned_scales import SCALE_KINDS, Scales
from scalekeys.networks.constrained.parameter_layout import layout_of
from scalekeys.networks.constrained.scale_space_kernel import ScaleSpaceKernel
from scalekeys.scalespace import AxisScales, Family
from scalekeys.scalespace.families import Term
from scalekeys.scalespace.parametrizations import TwoScales
from tolerances import assert_close

STENCILS = {
    "identity": {0: 1.0},
    "forward": {1: 1.0, 0: -1.0},
    "backward": {0: 1.0, -1: -1.0},
    "central": {1: 0.5, -1: -0.5},
    "second": {1: 1.0, 0: -2.0, -1: 1.0},
}
SIZES = [(5,), (3, 7), (3, 5, 7)]


def profile(name, t, taps):
    """A difference of the discrete Gaussian, by scipy; the unit impulse by its name."""
    n = np.arange(taps) - taps // 2
    if name == "impulse":
        return (n == 0).astype(float)
    return sum(weight * ive(n + offset, t) for offset, weight in STENCILS[name].items())


def outer(operators, t, size):
    """The outer product of profiles along (x, y, z) as an array; rows run down, and y points up."""
    along = [profile(name, float(own), taps) for name, own, taps in zip(operators, t, reversed(size), strict=True)]
    if len(along) > 1:
        along[1] = along[1][::-1]
    field = along[0]
    for own in along[1:]:
        field = np.multiply.outer(own, field)
    return torch.from_numpy(field)


def along(axis, name, axes, other="identity"):
    return tuple(name if place == axis else other for place in range(axes))


def family(parametrization, *components):
    return Family("", "", "", components, parametrization)


def some_families(axes):
    """A derivative along the last axis, a sharpening, a difference of smoothings, a jet, and a sum at two scales."""
    own, one, two = AxisScales(tuple(range(axes))), AxisScales((0,) * axes), TwoScales(axes)
    smooth = (Term(("identity",) * axes),)
    laplacian = tuple(Term(along(axis, "second", axes), -1.0) for axis in range(axes))
    jet = [(Term(along(axis, name, axes), 2.0),) for axis in range(axes) for name in ("central", "forward")]
    return (
        family(own, (Term(along(axes - 1, "backward", axes)),)),
        family(one, (Term(("impulse",) * axes),), laplacian),
        family(two, smooth, smooth),
        family(own, smooth, *jet),
        family(two, smooth, laplacian),
    )


def scales_of(family):
    """The number of the scale of each axis; both kernels of a family of two scales have one for all axes."""
    return list(family.parametrization.groups or (0,) * family.axes)


def some_filters(size, which=(0, 1, 2, 3, 2, 0), seed=0):
    """Filters of these families with numbers of chance."""
    axes, kinds, which = len(size), some_families(len(size)), torch.tensor(which)
    variances = random_filters(len(which), axes, seed=seed).square() + 0.2
    counts = torch.tensor([len(kind.components) for kind in kinds])
    used = torch.arange(int(counts.max())) < counts[which, None]
    for row, code in enumerate(which.tolist()):
        variances[row] = variances[row, scales_of(kinds[code])]
    return FittedFilters(
        size=size,
        window="exact",
        discretization="discrete",
        families=kinds,
        family=which,
        variances=variances,
        gaps=torch.tensor([has_two_scales(kinds[code]) * 0.7 for code in which], dtype=torch.float64),
        weights=random_filters(*used.shape, seed=seed + 1) * used,
        used=used,
        models=random_filters(len(which), *size, seed=seed + 2),
    )


def expected(filters):
    """The kernels, term by term, with the means of the models."""
    found = []
    for row, code in enumerate(filters.family.tolist()):
        total, own = torch.zeros(filters.size, dtype=torch.float64), filters.families[code]
        for number, component in enumerate(own.components):
            t = filters.variances[row] + number * has_two_scales(own) * (0.05 + filters.gaps[row])
            for one in component:
                total += filters.weights[row, number] * one.weight * outer(one.operators, t, filters.size)
        found.append(total - total.mean() + filters.models[row].mean())
    return torch.stack(found)


def kernel_of(filters, channels=None, tie="none", learn="scales+coefficients", kind="log"):
    layout = layout_of(filters, torch.arange(len(filters)), tie)
    scales = Scales(layout.variances, layout.gaps, kind, learned=True)
    return ScaleSpaceKernel(layout, channels or len(filters), scales, learn, torch.device("cpu"))


@pytest.mark.parametrize("kind", SCALE_KINDS)
@pytest.mark.parametrize("learn", ["scales", "amplitudes", "scales+coefficients"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_kernels_are_sums_of_outer_products_along_every_axis(size, learn, kind):
    filters = some_filters(size)
    kernel = kernel_of(filters, learn=learn, kind=kind)
    assert_close(kernel.filters(), expected(filters), absolute=1e-12)
    assert_close(kernel.sigma, filters.variances.sqrt(), absolute=1e-9)
    weight = kernel(torch.zeros(0, 1, *size))
    assert weight.shape == (len(filters), 1, *size)
    assert weight.dtype == torch.float32


@pytest.mark.parametrize("size", [size for size in SIZES if len(size) > 1], ids=str)
def test_where_few_filters_are_sums_each_product_is_a_kernel(size):
    filters = some_filters(size, (0, 4, *(0, 2) * 8, 1))
    kernel = kernel_of(filters)
    assert kernel._tables.slot.shape[1] == 1
    assert len(kernel._tables.added) > 9  # the second kernels, and the products after the first one
    assert_close(kernel.filters(), expected(filters), absolute=1e-12)
    assert_close(kernel.sigma, filters.variances.sqrt(), absolute=1e-9)


@pytest.mark.parametrize("tie", ["none", "filter", "layer"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_first_and_second_derivatives_are_exact_along_every_axis(size, tie):
    kernel = kernel_of(some_filters(size, (1, 2, 3)), channels=4, tie=tie)
    names = [name for name, _ in kernel.named_parameters()]
    free = torch.ones(1, 1, *size, dtype=torch.float64)

    def weight(*given):
        return functional_call(kernel, dict(zip(names, given, strict=True)), (free,))

    inputs = tuple(value.detach().clone().requires_grad_() for value in kernel.parameters())
    torch.autograd.gradcheck(weight, inputs, fast_mode=True)
    torch.autograd.gradgradcheck(weight, inputs, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scales_are_tied_as_asked_and_as_the_families_have_them(size):
    axes, filters = len(size), some_filters(size)
    one_scale = sum(len(set(scales_of(filters.families[code]))) for code in filters.family.tolist())
    for tie, scales, gaps in (("none", one_scale, 2), ("filter", len(filters), 2), ("layer", 1, 1)):
        kernel = kernel_of(filters, tie=tie)
        assert (len(kernel.scales.theta), len(kernel.scales.gap)) == (scales, gaps)
        if tie != "none":
            assert_close(kernel.sigma, kernel.sigma[:, :1].expand(-1, axes))


def test_an_axis_of_one_tap_has_a_scale_only_if_it_shares_that_of_another_axis():
    filters = some_filters((1, 5, 1), (0, 1))
    kernel = kernel_of(filters)
    assert len(kernel.scales.theta) == 2
    assert kernel.sigma.isnan().tolist() == [[True, False, True], [False] * 3]
    assert_close(kernel.filters(), expected(filters), absolute=1e-12)


def test_multiplied_kernels_are_multiples():
    filters = some_filters((3, 5, 7))
    kernel = kernel_of(filters, channels=8)
    before, free = kernel.filters().detach(), torch.ones(2, 1, 3, 5, 7)
    factors = torch.arange(1, 9, dtype=torch.float64)
    kernel.multiply(factors, free)
    assert_close(kernel.filters().detach(), factors[:6, None, None, None] * before)
    assert torch.equal(free[:, 0, 0, 0, 0], torch.tensor([7.0, 8.0]))


def polynomial(size, axes):
    """What a smoothing of infinite scale along some of the axes tends to, and one of t = 1 along the others."""
    if not axes:
        return outer(("identity",) * len(size), [1.0] * len(size), size)
    if len(axes) < len(size):
        t = [1.0] * len(size)
        parts = [profile("identity", t[axis], taps) for axis, taps in enumerate(reversed(size))]
        flat = [np.ones_like(part) if axis in axes else part for axis, part in enumerate(parts)]
        field = flat[0]
        for own in flat[1:]:
            field = np.multiply.outer(own, field)
        return torch.from_numpy(field)
    places = np.meshgrid(*(np.arange(taps) - taps // 2 for taps in size), indexing="ij")
    return torch.from_numpy(-sum(place.astype(float) ** 2 for place in places))


def smoothings(size, variances, models):
    """Smoothings of these scales."""
    axes, count = len(size), len(variances)
    return FittedFilters(
        size=size,
        window="exact",
        discretization="discrete",
        families=(family(AxisScales(tuple(range(axes))), (Term(("identity",) * axes),)),),
        family=torch.zeros(count, dtype=torch.long),
        variances=variances,
        gaps=torch.zeros(count, dtype=torch.float64),
        weights=torch.ones(count, 1, dtype=torch.float64),
        used=torch.ones(count, 1, dtype=torch.bool),
        models=models,
    )


def centred_norms(kernels):
    flat = kernels.flatten(1)
    return (flat - flat.mean(1, keepdim=True)).norm(dim=1)


@pytest.mark.parametrize("size", [(7,), (3,), (7, 7), (5, 5, 5), (3, 5, 7)], ids=str)
def test_an_infinite_scale_starts_at_the_largest_one_close_to_what_it_tends_to(size):
    axes = len(size)
    subsets = [set(some) for count in range(axes + 1) for some in itertools.combinations(range(axes), count)]
    variances = torch.ones(len(subsets), axes, dtype=torch.float64)
    for row, infinite in enumerate(subsets):
        variances[row, list(infinite)] = torch.inf
    models = torch.stack([polynomial(size, infinite) for infinite in subsets])
    filters = smoothings(size, variances, models)
    finite = with_finite_scales(filters)
    assert torch.equal(finite.variances, variances.clamp(max=largest_variance(size)))
    assert largest_variance(size) ** 0.5 == pytest.approx(8 * max(size), rel=1e-3)
    found = kernel_of(finite).filters().detach()
    assert_close(found[0], models[0], absolute=1e-12)  # nothing is infinite
    assert_close(found.flatten(1).mean(1), models.flatten(1).mean(1))
    error = centred_norms(found - models) / centred_norms(models)
    assert (error[1:] > 1e-9).all() or size == (3,)  # an even kernel of three taps, less its mean, has one form
    assert (error < 0.004).all()


@pytest.mark.parametrize(("ratio", "bound"), [(1.0, 1e-3), (4.0, 1e-3), (40.0, 0.02), (1e4, 0.05), (1e9, 0.05)])
def test_the_ratio_of_large_scales_counts_and_is_kept(ratio, bound):
    rows, cols = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    model = (-(cols.square() / ratio + rows.square()).double())[None]
    t = torch.tensor([[1e7 * ratio, 1e7]], dtype=torch.float64)
    finite = with_finite_scales(smoothings((7, 7), t, model))
    assert 49 <= float(finite.variances[0, 1]) <= float(finite.variances[0, 0])
    assert float(centred_norms(kernel_of(finite).filters().detach() - model) / centred_norms(model)) < bound


def test_coefficients_of_all_components_are_solved_for_again():
    """Of a jet and of a difference of smoothings whose scales are too large to be learned."""
    filters = some_filters((5, 7), (2, 3, 3, 0))
    filters.variances[:2] = 1e5
    finite = with_finite_scales(filters)
    assert_close(finite.variances[0], torch.full((2,), ceiling((5, 7)), dtype=torch.float64))
    assert torch.equal(finite.weights[2:], filters.weights[2:])
    assert (finite.weights[0, 2:] == 0).all()
    assert (finite.weights[1] != 0).all()
    left = centred_norms(kernel_of(finite).filters().detach() - filters.models)
    for step in random_filters(20, *finite.weights.shape, seed=5):
        moved = finite.weights * (1 + 1e-3 * step)
        other = kernel_of(FittedFilters(**vars(finite) | {"weights": moved})).filters().detach()
        assert (centred_norms(other - filters.models) >= left - 1e-9)[:2].all()


def test_a_small_step_of_a_large_scale_is_a_small_step_of_the_filter():
    """Its mean stays, though the kernel of a large scale is nearly constant."""
    size = (7, 7)
    model = polynomial(size, {0, 1})[None]
    kernel = kernel_of(with_finite_scales(smoothings(size, torch.full((1, 2), torch.inf, dtype=torch.float64), model)))
    before = kernel.filters().detach()
    with torch.no_grad():
        kernel.scales.theta.sub_(1e-3)
    step = (kernel.filters().detach() - before).norm() / centred_norms(before)
    assert 1e-3 < float(step) < 3e-3


def test_scales_that_can_be_learned_stay_as_they_are():
    filters = some_filters((5, 7))
    assert with_finite_scales(filters) is filters
