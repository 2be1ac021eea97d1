"""Fits inside a network, layer by layer."""

from copy import deepcopy

import pytest
import torch
from small_classifier import classifier, images
from torch import nn
from torch.utils.checkpoint import checkpoint

import scalekeys as sk
from scalekeys.errors import FilterError, ModelError
from scalekeys.networks import output_error
from scalekeys.networks.changing.keeping import PATCHES
from scalekeys.networks.changing.linear_parts import linear_parts, with_weights
from scalekeys.networks.measuring.sensitivity import sensitivity
from scalekeys.networks.running.memory_layout import channels_last


def plain_fit(network, seen, model):
    covariance = sk.patch_covariance(channels_last(deepcopy(network)), channels_last(seen), patches=PATCHES)
    return sk.fit(sk.extract(network), model, criterion="response", covariance=covariance)


@pytest.mark.parametrize("norm", [True, False])
def test_the_next_layer_sees_more_of_the_same_on_other_images_than_by_a_plain_fit(norm):
    network, seen, others = classifier(norm=norm), images(80), images(200, seed=5)
    plain, inside = plain_fit(network, seen, "sparse3"), sk.fit_in_network(network, seen, "sparse3")
    for stop in (5, 9):  # what comes to the second and the third layer
        errors = []
        with torch.no_grad():
            original = network[:stop](others)
            for fit in (plain, inside):
                errors.append(float((sk.replace(network, fit)[:stop](others) - original).square().mean()))
        assert errors[1] < 0.9 * errors[0]
    assert torch.equal(inside.values.parameters, plain.values.parameters)
    assert torch.equal(inside.numbers, plain.numbers)


def test_several_families_are_fitted_as_well():
    network, seen = classifier(), images()
    inside = sk.fit_in_network(network, seen, ("dx", "smooth"), layers=["1"])
    assert set(inside.family) <= {"dx", "smooth"}
    assert not torch.equal(inside.coefficients, plain_fit(network, seen, ("dx", "smooth")).coefficients)


def test_the_network_comes_back_as_it_was():
    network = classifier().train()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    sk.fit_in_network(network, images(), "sparse2")
    assert network.training
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_only_the_chosen_layers_are_changed():
    network, seen = classifier(), images()
    some, plain = sk.fit_in_network(network, seen, "sparse2", layers=["1"]), plain_fit(network, seen, "sparse2")
    same = (some.coefficients - plain.coefficients).abs().amax(1) < 1e-9
    assert not same[:8].any()
    assert same[8:].all()


def test_a_fit_with_its_own_weights_is_the_same_fit():
    network, seen = classifier(), images()
    covariance = sk.patch_covariance(network, seen)
    plain = sk.fit(sk.extract(network), ("dx", "sharpen", "jet1"), criterion="response", covariance=covariance)
    rows, weights = slice(0, 0), []
    for layer, model in zip(plain.bank, plain.kernels(), strict=True):
        rows = slice(rows.stop, rows.stop + len(layer))
        parts = linear_parts(plain, rows, layer)
        whole = torch.einsum("fp,fprc->frc", parts.weights, parts.parts)
        torch.testing.assert_close(whole.float(), model.kernels, atol=1e-6, rtol=1e-5)
        weights.append(parts.weights)
    again = with_weights(plain, weights, covariance)
    for name in ("coefficients", "offset", "r2", "r2_response", "residual_l1", "residual_l2"):
        torch.testing.assert_close(getattr(again, name), getattr(plain, name), atol=1e-6, rtol=1e-5)


def test_the_last_layer_looks_at_what_the_network_gives():
    network = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 5, padding=2, groups=6), nn.Flatten(), nn.Linear(864, 4)
    )
    seen = images(60)
    plain, inside = plain_fit(network, seen, "sparse2"), sk.fit_in_network(network, seen, "sparse2")
    errors = [output_error(network, sk.replace(network, fit), seen).value for fit in (plain, inside)]
    assert errors[1] < 0.9 * errors[0]


def test_a_layer_that_is_called_twice_keeps_its_plain_fit():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(3, 3, 5, padding=2, groups=3)

        def forward(self, x):
            return self.depthwise(self.depthwise(x).relu()).mean((2, 3))

    network, seen = Twice(), images()
    plain = plain_fit(network, seen, "sparse3")
    found = sk.fit_in_network(network, seen, "sparse3")
    torch.testing.assert_close(found.coefficients, plain.coefficients)


def test_a_layer_that_the_output_does_not_depend_on_keeps_its_plain_fit():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.side = (nn.Conv2d(3, 3, 5, padding=2, groups=3) for _ in range(2))

        def forward(self, x):
            main = self.main(x).relu()
            return main.mean((2, 3)), self.side(main).mean((2, 3))

    network, seen = Auxiliary(), images()
    plain, found = plain_fit(network, seen, "sparse3"), sk.fit_in_network(network, seen, "sparse3")
    torch.testing.assert_close(found.coefficients[3:], plain.coefficients[3:])


class Written(nn.Module):
    """The same function, written in several ways."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.main, self.last = (nn.Conv2d(3, 3, 5, padding=2, groups=3) for _ in range(2))

    def forward(self, x):
        x = x.sub_(0.5).mul_(2) if self.way == "in place" else (x - 0.5) * 2
        if self.way in (True, False):
            x = checkpoint(self.part, x.requires_grad_(torch.is_grad_enabled()), use_reentrant=self.way)
        else:
            x = self.part(x)
        return self.last(x).mean((2, 3))

    def part(self, x):
        return self.main(x.sin()).relu()


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("way", ["in place", True, False])
def test_changes_of_inputs_in_place_and_checkpointed_parts_make_no_difference(way):
    seen, plain, other = images(24), Written("plain"), Written(way)
    given = seen.clone()
    wanted, found = (sk.fit_in_network(one, [given], "sparse3").coefficients for one in (plain, other))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(*(sensitivity(one, [given])["main"] for one in (other, plain)))
    assert output_error(plain, other, [given]).value < 1e-6
    assert torch.equal(given, seen)


def test_filters_without_a_model_stay_as_they_are():
    network = classifier()
    with torch.no_grad():
        network[1].weight[2] = 0.0
    inside = sk.fit_in_network(network, images(), "sparse2")
    assert inside.status[2] == "zero-filter"
    assert sk.replace(network, inside)[1].weight[2].eq(0).all()


def test_too_few_images_and_unknown_layers_are_refused():
    with pytest.raises(ModelError, match="the batches hold 9 inputs; give at least 10"):
        sk.fit_in_network(classifier(), images(9), "sparse2")
    with pytest.raises(FilterError, match="no layer is called 'stem'"):
        sk.fit_in_network(classifier(), images(), "sparse2", layers=["stem"])


class Unused(nn.Sequential):
    """A classifier with a depthwise layer that it never calls."""

    def __init__(self):
        super().__init__(*classifier(), nn.Conv2d(8, 8, 5, padding=2, groups=8))

    def forward(self, inputs):
        for layer in list(self)[:-1]:
            inputs = layer(inputs)
        return inputs


def test_a_layer_that_is_never_called_is_fitted_to_natural_images():
    network, seen = Unused().eval(), images(20)
    fit = sk.fit_in_network(network, seen, "sparse2")
    plain = sk.fit(sk.extract(network), "sparse2", criterion="response")
    assert torch.equal(fit.coefficients[-8:], plain.coefficients[-8:])
    found = sk.compress(network, seen, budget=0.5, models=["sparse2", "keys"])
    assert found.chosen.numbers[-8:].max() == found.chosen.numbers.min() < found.chosen.numbers[:-8].max()


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_it_makes_no_difference_whether_the_caller_has_switched_gradients_off(off):
    network, seen = classifier(), images(20)
    fit, found = sk.fit_in_network(network, seen, "sparse2"), sensitivity(network, seen)
    with off():
        again = seen.clone()
        assert torch.equal(sk.fit_in_network(network, again, "sparse2").coefficients, fit.coefficients)
        assert all(torch.equal(value, found[name]) for name, value in sensitivity(network, again).items())
    assert all(value.gt(0).any() for value in found.values())
