"""What becomes of the depthwise filters: where they start, and which of their numbers a training changes."""

import pytest
import torch
from torch import nn

import scalekeys as sk
from scalekeys.errors import ModelError, RecipeError
from scalekeys.training.cifar_convnext import CifarConvNeXt
from scalekeys.training.depthwise import prepared
from scalekeys.training.recipe import Depthwise


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CifarConvNeXt(10, widths=(16, 16), depths=(1, 1))


def learned(network):
    return {name.partition("depthwise.")[2] for name, p in network.named_parameters() if p.requires_grad} - {""}


def filters(network):
    return torch.cat([layer.filters for layer in sk.extract(network)])


@pytest.mark.parametrize("kind", ["noise", "keys", "ideal8", "jet2", "dx,dy"])
def test_frozen_filters_have_the_norm_and_take_no_gradients(network, kind):
    made = prepared(network, Depthwise(kind, learn="none", norm=2.0), seed=0)
    assert learned(made) == {"bias"}
    norms = torch.linalg.vector_norm(filters(made), dim=(-2, -1))
    torch.testing.assert_close(norms, torch.full_like(norms, 2.0))
    assert torch.equal(made.head.weight, network.head.weight)


def test_every_key_and_every_family_is_there_as_often(network):
    keys = sk.assign_keys(sk.extract(prepared(network, Depthwise("keys", learn="none"), seed=0)))
    assert [(keys.index == key).sum().item() for key in range(8)] == [4] * 8
    fit = sk.fit(sk.extract(prepared(network, Depthwise("ideal8", learn="none", sigma=0.8), seed=0)))
    assert sorted(fit.family) == sorted(sk.MASTER_KEY_FAMILIES * 4)
    torch.testing.assert_close(fit.sigma, torch.full((32, 2), 0.8, dtype=torch.float64), atol=1e-3, rtol=0)


def test_the_seed_decides_which_channel_gets_which(network):
    one, same, other = (filters(prepared(network, Depthwise("keys"), seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "learn", "expected"),
    [
        ("ideal8", "scales", {"scales.theta"}),
        ("ideal8", "scales+amplitudes", {"scales.theta", "amplitude", "offset"}),
        ("jet2", "coefficients", {"coefficients", "offset"}),
        ("jet2", "scales+coefficients", {"scales.theta", "coefficients", "offset"}),
    ],
)
def test_what_is_learned(network, kind, learn, expected):
    made = prepared(network, Depthwise(kind, learn=learn), seed=0)
    start = filters(prepared(network, Depthwise(kind), seed=0))
    torch.testing.assert_close(filters(made), start, atol=1e-5, rtol=0)
    assert learned(made) == {"bias"} | {f"parametrizations.weight.0.{name}" for name in expected}


def test_the_nearest_filters_are_those_of_a_replacement(network):
    with torch.no_grad():
        network.stages[0][0].depthwise.weight.copy_(3 * sk.master_keys()[:, None].repeat(2, 1, 1, 1) + 1)
    for kind, modelled in (("keys", sk.assign_keys), ("ideal8", sk.fit)):
        made = prepared(network, Depthwise(kind, "nearest", learn="none"), seed=0)
        torch.testing.assert_close(filters(made), filters(sk.replace(network, modelled(sk.extract(network)))))
        assert learned(made) == {"bias"}


def test_what_makes_no_sense_is_refused(network):
    with pytest.raises(RecipeError, match=r"depthwise\.learn: scales needs filters with a model.*not 'keys'"):
        prepared(network, Depthwise("keys", learn="scales"), seed=0)
    with pytest.raises(ModelError, match="ideal9"):
        prepared(network, Depthwise("ideal9"), seed=0)


def test_a_network_without_depthwise_layers_is_refused():
    with pytest.raises(sk.CheckpointError, match="has no depthwise layers"):
        prepared(nn.Sequential(nn.Conv2d(3, 4, 3)), Depthwise("keys"), seed=0)


@pytest.mark.parametrize(("kind", "assignment"), [("ideal8", "nearest"), ("ideal8", "random"), ("jet2", "nearest")])
def test_scales_start_where_they_are_told_to_and_filters_keep_their_norms(network, kind, assignment):
    with torch.no_grad():
        for stage in network.stages:
            stage[-1].depthwise.weight.copy_(sk.master_keys().repeat(2, 1, 1)[:, None] * 3 + 0.1)
    wanted = Depthwise(kind, assignment=assignment, learn="scales", start=1.5)
    free = prepared(network, Depthwise(kind, assignment=assignment, learn="scales"), seed=0)
    made = prepared(network, wanted, seed=0)
    for layer in (stage[-1].depthwise for stage in made.stages):
        sigma = layer.parametrizations.weight[0].sigma
        torch.testing.assert_close(sigma, torch.full_like(sigma, 1.5))
    one, other = filters(made), filters(free)
    assert not torch.allclose(one, other, atol=1e-2)
    norms = [values.flatten(1).std(1) for values in (one, other)]
    torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-5)


def test_a_start_needs_scales_that_are_learned(network):
    with pytest.raises(RecipeError, match=r"depthwise\.start: is for scales that are learned"):
        prepared(network, Depthwise("ideal8", learn="none", start=1.5), seed=0)
