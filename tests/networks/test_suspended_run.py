"""Runs that are suspended before a layer: what they skip, what they keep, and what they give."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalekeys import fit_in_network
from scalekeys.networks.changing import stretches
from scalekeys.networks.running.partial_run import call_order, next_layer, run_between
from scalekeys.networks.running.patches import Patches
from scalekeys.networks.running.running_moments import PatchGeometry
from scalekeys.networks.running.suspended_run import SuspendedRun


class Tangled(nn.Module):
    """A shortcut, changes in place through a view, parts of a tensor, a switch of gradients, a call without a layer."""

    def __init__(self, aliased=False):
        super().__init__()
        self.aliased = aliased
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 3, padding=1, groups=4) for _ in range(3))

    def forward(self, x):
        stem = F.relu(self.first(x)) * 2
        view = stem.view(len(x), -1)
        view[:, 0] = 1.0
        left, right = (stem * 1.5).chunk(2, dim=1)
        with torch.no_grad():
            gate = right.mean((2, 3), keepdim=True) * torch.arange(1.0, 3.0).view(1, 2, 1, 1)
        joined = torch.cat([left * gate, right], dim=1) + stem
        view.mul_(0.5)
        kernels = self.second.weight.flatten(1).view(4, 1, 3, 3)
        second = F.conv2d(joined, kernels, self.second.bias, padding=1, groups=4)
        stem.add_(second)
        seen = view.view_as(stem) if self.aliased else stem  # as it is after the second layer has changed it
        return self.third(seen * 1.5).amax((2, 3))


def made(**options):
    torch.manual_seed(0)
    return Tangled(**options).eval().requires_grad_(False), torch.randn(5, 4, 6, 6)


def test_a_resumed_run_gives_what_a_whole_run_gives_any_number_of_times():
    network, batch = made()
    whole, run = network(batch), SuspendedRun(network, batch)
    for layer in (network.first, network.second, network.third):
        run.suspend_before(layer)
        for _ in range(3):
            with run.resumed():
                assert torch.equal(network(batch), whole)


def test_only_what_comes_after_the_suspension_is_computed():
    network, batch = made()
    whole, run = network(batch), SuspendedRun(network, batch)
    run.suspend_before(network.second)
    with torch.no_grad():
        network.first.weight.zero_()  # is not looked at any more
        with run.resumed():
            assert torch.equal(network(batch), whole)
        network.third.bias += 1
        with run.resumed():
            torch.testing.assert_close(network(batch), whole + 1)
    assert run.nbytes == 3 * batch.nbytes + 40  # the stem, its halves, the gate, and what comes to the second layer
    run.restart()
    assert run.nbytes == 0
    with run.resumed():
        assert not torch.equal(network(batch), whole + 1)


def test_gradients_and_targets_are_those_of_a_run_from_the_beginning():
    network, batch = made()
    layers = dict(network.named_children())
    assert call_order(network, batch, layers) == ["first", "second", "third"]
    run = SuspendedRun(network, batch)
    for (name, layer), (following, end) in pairwise([*layers.items(), (None, None)]):
        whole = SuspendedRun(network, batch)
        assert next_layer(whole, layer, layers) == (1, following), name
        run.suspend_before(layer)
        passages = [run_between(one, layer, end, gradients=True) for one in (whole, run)]
        gradients = [torch.autograd.grad(one.target.square().sum(), one.outputs)[0] for one in passages]
        assert torch.equal(passages[0].target, passages[1].target)
        assert torch.equal(*gradients)
        assert torch.equal(passages[0].inputs, passages[1].inputs)


def test_a_network_whose_gradients_take_hidden_ways_is_run_from_the_beginning(monkeypatch):
    network, _ = made(aliased=True)
    inputs, suspended = torch.randn(40, 4, 6, 6), []
    plain = SuspendedRun.suspend_before
    monkeypatch.setattr(SuspendedRun, "suspend_before", lambda run, layer: suspended.append(run) or plain(run, layer))
    found = fit_in_network(network, inputs, "jet1")
    assert bool(found.coefficients.isfinite().all())
    assert len(suspended[-1].batch) == 2  # it is tried with a few inputs, and given up for all
    monkeypatch.setattr(stretches, "_BYTES", 0)
    assert torch.equal(fit_in_network(network, inputs, "jet1").coefficients, found.coefficients)


def test_batches_beyond_the_memory_give_the_same(monkeypatch):
    network, _ = made()
    batches = torch.randn(40, 4, 6, 6).split(10)
    kept = fit_in_network(network, batches, "jet1")
    monkeypatch.setattr(stretches, "_BYTES", 0)
    assert torch.equal(fit_in_network(network, batches, "jet1").coefficients, kept.coefficients)


@pytest.mark.parametrize(
    ("sides", "geometry"),
    [
        ((9, 7), PatchGeometry((3, 5), (2, 1), (1, 1), (2, 2, 1, 1))),
        ((9, 8), PatchGeometry((3, 2), (1, 2), (2, 1), (0, 1, 0, 0))),
        ((12,), PatchGeometry((4,), (3,), (2,), (3, 0))),
        ((5, 4, 6), PatchGeometry((3, 1, 2), (1, 2, 1), (1, 1, 2), (0, 0, 0, 0, 1, 1))),
    ],
)
def test_patches_are_what_a_convolution_multiplies(sides, geometry):
    torch.manual_seed(0)
    maps, kernels = torch.randn(2, 3, *sides), torch.randn(6, 1, *geometry.kernel, requires_grad=True)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(sides) - 1]
    padded = F.pad(maps, geometry.padding)
    outputs = convolve(padded, kernels, stride=geometry.stride, dilation=geometry.dilation, groups=3)
    patches = Patches(maps, geometry)
    assert patches.sides == outputs.shape[2:]
    every = torch.arange(outputs[0, 0].numel())
    seen = patches.at(torch.ones_like(every), every)
    answers = kernels.detach().flatten(1)[:, None] @ seen.repeat_interleave(2, dim=0)
    torch.testing.assert_close(answers[:, 0], outputs[1].flatten(1))
    weights = torch.randn_like(outputs)
    (gradient,) = torch.autograd.grad(outputs, kernels, weights)
    torch.testing.assert_close(patches.weighted_sum(weights), gradient[:, 0], atol=1e-4, rtol=1e-4)
