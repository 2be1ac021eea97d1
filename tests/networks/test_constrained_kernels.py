"""The values and derivatives of constrained filters, and how their scales behave at the ends."""

import pytest
import torch
from depthwise_network import constrained_layer, kernels_of, random_filters, smoothing
from torch.func import functional_call

import scalekeys as sk
from scalekeys.networks.constrained.differentiable_profiles import constants_of, profiles
from scalekeys.networks.constrained.learned_scales import SCALE_KINDS
from scalekeys.scalespace import DIFFERENCES
from tolerances import assert_close

WITH_ZERO = [kind for kind in SCALE_KINDS if kind != "softplus-sigma"]
"""The functions that a variance of 0 is a value of."""


@pytest.mark.parametrize("number", range(8))
def test_filters_are_sums_of_smoothings(number):
    """As in the table of the paper's filters, with the smoothing of an independent source."""
    family = sk.MASTER_KEY_FAMILIES[number]
    x, y = (0.9, 0.9) if family == "sharpen" else (0.9, 1.3)
    constrained, kernel, fit = constrained_layer(sk.master_keys()[[number, number]], family)
    variances = torch.tensor([x, x] if family == "sharpen" else [x, x, y, y], dtype=torch.float64).square()
    with torch.no_grad():
        kernel.scales.theta.copy_(torch.log1p(variances / 0.05))
    wide = smoothing(x, y, 9)

    def at(right, up):
        return wide[1 - up : 8 - up, 1 + right : 8 + right]

    here, right, left, above, below = at(0, 0), at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
    impulse = torch.zeros_like(here)
    impulse[3, 3] = 1
    expected = {
        "dy+": above - here,
        "dx-": here - left,
        "dy-": here - below,
        "dx+": right - here,
        "dx": (right - left) / 2,
        "dy": (above - below) / 2,
        "sharpen": impulse - fit.alpha[0] * (right + left + above + below - 4 * here),
        "smooth": here,
    }[family]
    mean = fit.kernels().layers[0].kernels[1].mean()  # which a scale does not change
    assert_close(constrained.weight[1, 0], fit.amplitude[0] * (expected - expected.mean()) + mean)
    assert_close(kernel.sigma[1], torch.tensor([x, y], dtype=torch.float64))


@pytest.mark.parametrize("size", [(3, 3), (5, 9), (7, 31)], ids=str)
def test_profiles_are_those_of_the_discrete_gaussian(size):
    """Over the whole range of t, with both derivatives."""
    operators = (*DIFFERENCES, "impulse")
    constants = constants_of(operators, size, "exact")
    share = torch.cat([torch.zeros(1), torch.logspace(-6, 0, 16)]).double()
    t = (share * constants.maximum).clamp(max=constants.maximum).expand(2, -1).clone().requires_grad_()
    found = profiles(t, constants).movedim(-1, 1)  # axes, variances, operators, taps
    bound = float(t.detach().max())
    reach = max(difference.reach for difference in DIFFERENCES.values())
    for axis, taps in enumerate(reversed(size)):
        wide = sk.scalespace.discrete_gaussian(t[axis], taps // 2 + reach, max_variance=bound)
        every = [sk.scalespace.difference(wide, one) for one in DIFFERENCES.values()]
        wanted = torch.stack([one[:, (one.shape[1] - taps) // 2 :][:, :taps] for one in every], dim=1)
        wanted = wanted.flip(-1) if axis else wanted
        mine = found[axis, :, : len(DIFFERENCES), :taps]
        torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-12)
        direction = random_filters(*wanted.shape)
        first, second = (
            torch.autograd.grad((value * direction).sum(), t, create_graph=True)[0] for value in (mine, wanted)
        )
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)
        first, second = (torch.autograd.grad(value.sum(), t, retain_graph=True)[0] for value in (first, second))
        torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-9)
    middle = found[:, :, -1]
    assert torch.equal(middle.sum(-1), torch.ones_like(middle[..., 0]))
    assert torch.equal(middle[0, :, size[1] // 2], torch.ones_like(t[0]))


@pytest.mark.parametrize("kind", SCALE_KINDS)
@pytest.mark.parametrize(
    ("model", "size", "tie"),
    [
        ("ideal8", (5, 5), "none"),
        (("jet2", "sharpen"), (3, 5), "none"),
        ("dog", (3, 3), "none"),
        ("jet3", (5, 3), "filter"),
        (("dog", "laplacian"), (3, 3), "layer"),
        ("smooth", (1, 5), "none"),
    ],
    ids=str,
)
def test_first_and_second_derivatives_are_exact(model, size, tie, kind):
    """Of a layer with a filter that is free, in everything that it depends on."""
    filters = torch.cat([random_filters(2, *size), torch.zeros(1, *size)])
    constrained, kernel, _ = constrained_layer(filters, model, tie=tie, scale=kind)
    names = [name for name, _ in kernel.named_parameters()]
    values = [*kernel.parameters(), constrained.parametrizations.weight.original]

    def weight(*given):
        return functional_call(kernel, dict(zip(names, given[:-1], strict=True)), given[-1:])

    inputs = tuple(value.detach().clone().requires_grad_() for value in values)
    for name in ("scales.theta", "scales.gap"):
        if name in names:
            inputs[names.index(name)].data.clamp_(min=0.3)  # at 0 there is a derivative to one side only
    torch.autograd.gradcheck(weight, inputs, fast_mode=True)
    torch.autograd.gradgradcheck(weight, inputs, fast_mode=True)


def test_a_filter_depends_on_its_own_numbers_only():
    """A layer of many families, some of its filters free."""
    filters = torch.cat([sk.master_keys(), random_filters(3, 7, 7)])[torch.randperm(11)]
    constrained, kernel, fit = constrained_layer(filters, min_r2=0.5, model="ideal8")
    free, values = constrained.parametrizations.weight.original, dict(kernel.named_parameters())
    rows = (fit.r2 >= 0.5).nonzero()[:, 0]
    assert 8 <= len(rows) < 11
    expected = torch.zeros(len(filters), len(rows))
    expected[rows, torch.arange(len(rows))] = 1
    for name in ("offset", "amplitude"):
        changes = torch.autograd.functional.jacobian(
            lambda given, name=name: functional_call(kernel, values | {name: given}, (free,)), values[name].detach()
        )
        assert torch.equal((changes.abs().amax((1, 2, 3)) > 1e-9).float(), expected)


@pytest.mark.parametrize("kind", WITH_ZERO)
def test_a_scale_of_zero_can_be_left(kind):
    """The central pixel falls by ``dT(0; t)/dt = -1`` along each axis; in sigma its slope there would be 0.

    The mean of the kernel over the window does not fall at t = 0: what the centre loses, its neighbours gain.
    """
    impulse = torch.zeros(2, 5, 5, dtype=torch.float64)
    impulse[:, 2, 2] = 1
    constrained, kernel, fit = constrained_layer(impulse, "smooth", "scales", scale=kind)
    assert kernel.scales.theta.abs().max() < 1e-12
    constrained.weight[:, 0, 2, 2].sum().backward()
    slope = {"log": 0.05, "softplus": 0.5}[kind]
    assert_close(kernel.scales.theta.grad, -slope * fit.amplitude.repeat(2))


@pytest.mark.parametrize("which", ["theta", "gap"])
@pytest.mark.parametrize("kind", WITH_ZERO)
@pytest.mark.parametrize("end", ["below", "above"])
def test_beyond_an_end_only_gradients_that_lead_back_are_passed_on(end, kind, which):
    family = {"theta": "smooth", "gap": "dog"}[which]
    constrained, kernel, _ = constrained_layer(random_filters(2, 5, 5), family, "scales", scale=kind)
    parameter = getattr(kernel.scales, which)
    there, outwards = (-2.0, -1) if end == "below" else ({"log": 12.0, "softplus": 2000.0}[kind], 1)
    with torch.no_grad():
        parameter.fill_(there + outwards)
        edge = constrained.weight
        parameter.fill_(there)
        assert torch.equal(constrained.weight, edge)  # nothing changes there
    direction, passed = random_filters(2, 1, 5, 5, seed=1), []
    for sign in (1, -1):
        parameter.grad = None
        (sign * direction * constrained.weight).sum().backward()
        passed.append(parameter.grad)
    moves = -torch.stack(passed)
    assert (moves * outwards <= 0).all()
    assert ((moves != 0).sum(0) == 1).all()  # one of the two signs leads back


@pytest.mark.parametrize("kind", SCALE_KINDS)
def test_scales_stay_in_their_range_whatever_is_learned(kind):
    constrained, kernel, _ = constrained_layer(random_filters(4, 5, 5), "ideal8", "scales", scale=kind)
    optimizer = torch.optim.Adam([kernel.scales.theta], lr=3.0)
    for sign in (1, 1, 1, -1, -1, -1, -1):
        optimizer.zero_grad()
        (sign * constrained.weight.square().sum()).backward()
        optimizer.step()
        assert (kernel.sigma >= 0).all()
        assert (kernel.sigma <= 40.001).all()  # eight sides
        assert constrained.weight.isfinite().all()


def test_kernels_say_what_they_are():
    constrained, _, _ = constrained_layer(random_filters(3, 5, 7), "dog", tie="layer", scale="softplus")
    text = str(kernels_of(torch.nn.Sequential(constrained))["0"])
    assert "3 of 3 filters, 5x7, learn='scales+amplitudes'" in text
    assert "1 scales, 1 gaps, softplus, learned=True" in text
