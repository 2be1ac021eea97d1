"""Kernels of unit norm at every scale, scales as the published script has them, and learned additive constants."""

import copy

import pytest
import torch
from depthwise_network import DEPTHWISE, constrained_layer, images, layer_of, random_filters, smoothing
from torch import nn
from torch.nn import functional as F

import scalekeys as sk
from scalekeys.networks.constrained.learned_offsets import learn_offsets
from scalekeys.networks.constrained.learned_scales import Scales
from tolerances import assert_close


def templates(x, y, alpha):
    """The eight fields at one pair of scales, from an independent smoothing; `sharpen` has the scale of x alone."""

    def at(right, up, wide):
        return wide[1 - up : 8 - up, 1 + right : 8 + right]

    wide, round_ = smoothing(x, y, 9), smoothing(x, x, 9)
    here, right, left, above, below = (at(*place, wide) for place in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)))
    laplacian = sum(at(*place, round_) for place in ((1, 0), (-1, 0), (0, 1), (0, -1))) - 4 * at(0, 0, round_)
    impulse = torch.zeros_like(here)
    impulse[3, 3] = 1
    fields = [above - here, here - left, here - below, right - here, (right - left) / 2, (above - below) / 2]
    return torch.stack([*fields, impulse - alpha * laplacian, here])


@pytest.mark.parametrize("sigma", [(0.4, 0.9), (1.5, 1.5), (3.0, 2.0)])
def test_each_filter_is_its_template_brought_to_norm_1(sigma):
    filters = torch.cat([3 * sk.master_keys() + 0.1, -sk.master_keys()])
    constrained, kernel, fit = constrained_layer(filters, "ideal8", "scales", norm="unit", scale="softplus-sigma")
    assert list(fit.family) == [*sk.MASTER_KEY_FAMILIES] * 2
    axes = torch.tensor(sigma, dtype=torch.float64) - 1e-3
    scale = kernel._tables.scale.view(2, -1)  # which parameter each filter has along x and y; `sharpen` has one
    with torch.no_grad():
        kernel.scales.theta[scale[1]] = torch.expm1(axes[1]).log()
        kernel.scales.theta[scale[0]] = torch.expm1(axes[0]).log()
    alphas = fit.alpha[[6, 14]].tolist()
    expected = torch.cat([templates(*sigma, alpha) for alpha in alphas])
    expected = expected / expected.flatten(1).norm(dim=1)[:, None, None]
    assert_close(constrained.weight[:, 0], expected, absolute=1e-10)
    assert_close(kernel.sigma[[0, 5, 7]], torch.tensor(sigma, dtype=torch.float64).expand(3, 2))


def test_scales_of_unit_kernels_have_exact_gradients():
    _, kernel, _ = constrained_layer(sk.master_keys(), "ideal8", "scales", norm="unit", scale="softplus-sigma")
    assert [name for name, one in kernel.named_parameters() if one.requires_grad] == ["scales.theta"]
    theta = kernel.scales.theta.detach().clone().requires_grad_()

    def filters(value):
        return torch.func.functional_call(kernel, {"scales.theta": value}, torch.zeros(0, 1, 7, 7).double())

    assert torch.autograd.gradcheck(filters, theta)


@pytest.mark.parametrize("variance", [0.25, 2.25, 30.0])
def test_a_scale_is_a_softplus_above_a_floor(variance):
    scales = Scales(torch.tensor([variance]), torch.zeros(0), "softplus-sigma", learned=True)
    torch.testing.assert_close(scales.variances(), torch.tensor([variance]), rtol=1e-5, atol=0)
    with torch.no_grad():
        scales.theta.fill_(-50)
    torch.testing.assert_close(scales.variances().sqrt(), torch.tensor([1e-3]), rtol=1e-5, atol=0)
    with torch.no_grad():
        scales.theta.copy_(torch.tensor([0.7]))
    torch.testing.assert_close(scales.variances().sqrt(), F.softplus(torch.tensor([0.7])) + 1e-3, rtol=1e-6, atol=0)


def test_an_impulse_starts_near_the_floor_and_moves():
    impulse = torch.zeros(2, 7, 7, dtype=torch.float64)
    impulse[:, 3, 3] = 1
    constrained, kernel, _ = constrained_layer(impulse, "smooth", "scales", scale="softplus-sigma")
    torch.testing.assert_close(kernel.sigma, torch.full((2, 2), 2e-3, dtype=torch.float64), rtol=1e-6, atol=0)
    constrained.weight[:, 0, 3, 3].sum().backward()
    assert (kernel.scales.theta.grad < 0).all()


@pytest.mark.parametrize(
    ("model", "learn", "match"),
    [
        ("jet2", "scales", "norm='unit' leaves out amplitudes, and filters of the model 'jet2' have several; take"),
        ("sparse3", "scales", "filters of the model 'sparse3' have several"),
        ("ideal8", "scales+amplitudes", r"learn='scales\+amplitudes' asks for some"),
    ],
)
def test_models_of_several_amplitudes_have_no_unit_kernels(model, learn, match):
    network = nn.Sequential(layer_of(random_filters(2, 7, 7)))
    with pytest.raises(sk.ModelError, match=match):
        sk.constrain(network, sk.fit(sk.extract(network), model), learn, norm="unit")


def test_unit_kernels_are_baked_and_their_states_loaded(network, fit):
    constrained = sk.constrain(network, fit, norm="unit", scale="softplus-sigma")
    with torch.no_grad():
        for parameter in constrained.parameters():
            parameter += 0.1
    other = sk.constrain(network, fit, norm="unit", scale="softplus-sigma")
    other.load_state_dict(constrained.state_dict(), strict=True)
    assert torch.equal(other(images()), constrained(images()))
    assert torch.equal(sk.bake(constrained)(images()), constrained(images()))
    assert "norm='unit'" in str(constrained)


def test_constants_start_at_0_and_are_added_to_every_tap(network):
    made = learn_offsets(network)
    assert torch.equal(made(images()), network(images()))
    taken = {name for name, one in made.named_parameters() if one.requires_grad}
    kept = {name for name, _ in network.named_parameters()} - {f"{name}.weight" for name in DEPTHWISE}
    assert taken == kept | {f"{name}.parametrizations.weight.0.offset" for name in DEPTHWISE}
    reference = copy.deepcopy(network)
    for one in (made, reference):
        one(images()).square().sum().backward()
    for name in DEPTHWISE:
        offset = made.get_submodule(name).parametrizations.weight[0].offset
        weight = reference.get_submodule(name).weight
        torch.testing.assert_close(offset.grad, weight.grad.sum((1, 2, 3)))
        with torch.no_grad():
            offset.copy_(torch.arange(len(offset)))
            weight += torch.arange(len(weight))[:, None, None, None]
    torch.testing.assert_close(made(images()), reference(images()))
    baked = sk.bake(made)
    assert list(baked.state_dict()) == list(network.state_dict())
    assert torch.equal(baked(images()), made(images()))
