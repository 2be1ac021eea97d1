"""Where a network loses: errors of layers, and their bounds."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from small_classifier import classifier, images

import scalekeys as sk
from scalekeys.errors import ModelError


@pytest.fixture(scope="module")
def networks():
    network = classifier()
    return network, sk.replace(network, sk.fit(sk.extract(network), "jet1"))


def answers(network, layer, inputs):
    with torch.no_grad():
        for part in network[:layer]:
            inputs = part(inputs)
        return network[layer](inputs).clone()


def test_errors_are_those_of_answers_computed_by_hand(networks):
    network, replaced = networks
    seen = images(30)
    found = sk.diagnose(network, replaced, seen.split(10)).layers
    for layer, one in zip((1, 5, 9), found, strict=True):
        original = answers(network, layer, seen)
        whole = (original - original.mean((0, 2, 3), keepdim=True)).square().sum()
        cumulative = (answers(replaced, layer, seen) - original).square().sum() / whole
        assert one.layer == str(layer)
        assert one.cumulative == pytest.approx(float(cumulative), rel=1e-4)
        with torch.no_grad():
            inputs = seen
            for part in network[:layer]:
                inputs = part(inputs)
            local = (replaced[layer](inputs) - original).square().sum() / whole
        assert one.local == pytest.approx(float(local), rel=1e-4)
    assert found[0].local == found[0].cumulative
    assert found[2].cumulative > 1.2 * found[2].local


def test_no_input_gives_more_than_the_bound():
    filters = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 5, padding=4, groups=6, bias=False))
    changed = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 5, padding=4, groups=6, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(filters)
        changed[0].weight.copy_(filters + 0.3 * torch.roll(filters, 1, 0))
    bound = sk.diagnose(network, changed).layers[0].bound
    grid = np.linspace(0, 2 * np.pi, 500)
    wave = np.exp(1j * np.outer(grid, np.arange(5)))
    gains = [np.abs(wave @ stack.numpy() @ wave.T).max() for stack in (0.3 * torch.roll(filters, 1, 0)[:, 0])]
    whole = [np.abs(wave @ stack.numpy() @ wave.T).max() for stack in filters[:, 0]]
    exact = max(gain / other for gain, other in zip(gains, whole, strict=True))
    assert exact <= bound <= 1.05 * exact


def test_equal_networks_have_no_error(networks):
    network, _ = networks
    for one in sk.diagnose(network, network, images(10)).layers:
        assert (one.bound, one.local, one.cumulative) == (0, 0, 0)


def test_answers_that_do_not_vary_have_no_finite_error(networks):
    network, _ = networks
    constant = deepcopy(network)
    torch.nn.init.zeros_(constant[1].weight)
    first = sk.diagnose(constant, network, images(4)).layers[0]
    assert (first.local, first.cumulative) == (np.inf, np.inf)
    same = sk.diagnose(constant, constant, images(4)).layers[0]
    assert np.isnan([same.local, same.cumulative]).all()


def test_without_images_only_bounds_are_known(networks):
    table = sk.diagnose(*networks).to_pandas()
    assert table.bound.between(0, 2).all()
    assert table.local.isna().all()
    assert "worst" in repr(sk.diagnose(*networks))


def test_constrained_networks_are_diagnosed_as_well(networks):
    network, _ = networks
    fit = sk.fit(sk.extract(network), "jet1")
    one, other = (
        sk.diagnose(network, changed, images(10)).to_pandas()
        for changed in (sk.replace(network, fit), sk.constrain(network, fit))
    )
    np.testing.assert_allclose(one.local, other.local, rtol=1e-3)


def test_networks_of_other_layers_are_refused(networks):
    with pytest.raises(ModelError, match="not those of this network"):
        sk.diagnose(networks[0], torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4)))


def test_the_bias_of_the_changed_layer_counts(networks):
    network, replaced = networks
    seen = images(30)
    for changed in (sk.recalibrate(replaced, seen, network), deepcopy(replaced).bfloat16()):
        first = sk.diagnose(network, changed, seen).layers[0]
        assert first.local == pytest.approx(first.cumulative, rel=1e-2)  # nothing was changed before it
    with torch.no_grad():
        changed = deepcopy(network)
        changed[1].bias.add_(1.0)
    assert sk.diagnose(network, changed, seen).layers[0].local > 0


@pytest.mark.parametrize("side", [9, 3])
def test_a_layer_that_is_used_in_another_way_has_no_local_error(side):
    class Functional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 3, 5, groups=3)

        def forward(self, inputs):
            return torch.nn.functional.conv2d(inputs, self.layer.weight, self.layer.bias, padding=2, groups=3)

    one, other = Functional(), Functional()
    (found,) = sk.diagnose(one, other, torch.randn(2, 3, side, side)).layers
    assert np.isnan(found.local)
    assert found.cumulative > 0


def test_neither_network_is_changed(networks):
    network = deepcopy(networks[0])
    torch.nn.utils.parametrizations.spectral_norm(network[1])
    torch.nn.init.ones_(network[1].parametrizations.weight.original)  # of which each look at the weight learns more
    before = deepcopy(network.train().state_dict())
    sk.diagnose(network, network, images(4))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
