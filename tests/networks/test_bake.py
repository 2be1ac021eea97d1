"""Baked networks: plain layers with the same outputs, for every runtime."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from depthwise_network import DEPTHWISE, images, kernels_of
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import scalekeys as sk


def test_layers_are_plain_and_outputs_the_same(network, constrained):
    baked = sk.bake(constrained)
    assert str(baked) == str(network)
    assert list(baked.state_dict()) == list(network.state_dict())
    assert [name for name, _ in baked.named_parameters()] == [name for name, _ in network.named_parameters()]
    assert torch.equal(baked(images()), constrained(images()))
    for name in DEPTHWISE:
        assert type(baked.get_submodule(name)) is nn.Conv2d
        assert baked.get_submodule(name).weight.requires_grad


def test_a_network_at_its_start_is_baked_into_the_replaced_one(network):
    """Of a jet, whose scales are finite."""
    fit = sk.fit(sk.extract(network), "jet2")
    baked = sk.bake(sk.constrain(network, fit, "scales+amplitudes"))
    torch.testing.assert_close(baked(images()), sk.replace(network, fit)(images()), rtol=1e-6, atol=1e-6)


def test_states_go_back_into_the_network(network, constrained):
    network.load_state_dict(sk.bake(constrained).state_dict(), strict=True)
    assert torch.equal(network(images()), constrained(images()))


def test_what_is_baked_and_what_is_not_are_independent(constrained):
    before, baked = constrained(images()), sk.bake(constrained)
    with torch.no_grad():
        for parameter in baked.parameters():
            parameter += 1
    assert torch.equal(constrained(images()), before)
    assert list(kernels_of(constrained)) == list(DEPTHWISE)
    constrained(images()).sum().backward()


def test_copies_are_baked_one_by_one(constrained):
    """Copies share the class that a parametrization makes for a layer."""
    twin = copy.deepcopy(constrained)
    baked = sk.bake(twin)
    for other in (constrained, twin):
        assert torch.equal(other(images()), baked(images()))
        assert list(kernels_of(other)) == list(DEPTHWISE)
    assert torch.equal(sk.bake(constrained)(images()), baked(images()))


def test_baked_twice_or_without_constraints_it_is_a_copy(network, constrained):
    baked = sk.bake(constrained)
    assert torch.equal(sk.bake(baked)(images()), baked(images()))
    plain = sk.bake(network)
    assert torch.equal(plain(images()), network(images()))
    assert plain.wide.weight is not network.wide.weight


def test_other_parametrizations_stay(network, fit):
    parametrizations.weight_norm(network.stem)
    baked = sk.bake(sk.constrain(network, fit))
    assert parametrize.is_parametrized(baked.stem)
    assert torch.equal(baked.stem.weight, network.stem.weight)


def test_what_is_put_onto_a_constrained_weight_is_baked_with_it(constrained):
    parametrizations.spectral_norm(constrained.down)
    constrained.eval()
    baked = sk.bake(constrained)
    assert type(baked.down) is nn.Conv2d
    assert torch.equal(baked(images()), constrained(images()))


def test_wrappers_are_left_off(network, constrained):
    assert type(sk.bake(nn.DataParallel(constrained))) is type(network)


def test_it_is_read_and_fitted_like_any_network(fit, constrained):
    baked = sk.extract(sk.bake(constrained))
    again = sk.fit(baked)
    share = again.r2[fit.values.family >= 0]
    assert (share > 1 - 1e-6).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_exported_to_onnx_it_has_the_same_outputs(constrained, tmp_path):
    baked, path = sk.bake(constrained), tmp_path / "baked.onnx"
    torch.onnx.export(baked, (images(),), path, dynamo=True, verbose=False, external_data=False)
    (outputs,) = onnxruntime.InferenceSession(path).run(None, {"images": images().numpy()})
    np.testing.assert_allclose(outputs, constrained(images()).detach().numpy(), rtol=1e-4, atol=1e-5)
    exported = {layer.name: layer.kernels for layer in sk.extract(path)}
    assert torch.equal(exported["down"], baked.down.weight.detach()[:, 0])
