"""Sequences, images and volumes: everything that is done to a network, on kernels of one to three axes."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from depthwise_network import random_filters as random
from networks_of_any_axes import CLASSES, LAYERS, classifier, conformer, inputs, mamba, sounds, tokens
from torch import nn
from torch.nn import functional as F

import scalekeys as sk
from scalekeys.filters import FilterBank, Replacement
from tolerances import assert_close

AXES = (1, 2, 3)


def by_channel(values):
    return values.transpose(0, 1).flatten(1)


def changed(network):
    """The same with other kernels."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for layer in sk.extract(other):
            weight = other.get_submodule(layer.name).weight
            weight.add_(0.3 * torch.roll(weight, 1, 0)).mul_(1.4)
    return other


def quadratic(errors, covariance):
    return torch.einsum("ci,cij,cj->c", errors.flatten(1), covariance, errors.flatten(1))


CONVOLUTION = {1: nn.Conv1d, 3: nn.Conv3d}
OPTIONS = [
    (1, 5, {}),
    (1, 4, {"padding": 3}),
    (1, 4, {"padding": "same", "dilation": 2}),
    (1, 6, {"stride": 3, "dilation": 2, "padding": 2}),
    (1, 7, {"padding": 3, "padding_mode": "reflect"}),
    (3, (3, 3, 3), {"padding": 1}),
    (3, (2, 4, 3), {"padding": (1, 2, 0), "stride": (2, 1, 3)}),
    (3, (3, 2, 5), {"padding": "same", "dilation": (1, 2, 1)}),
    (3, (1, 3, 3), {"padding": (0, 1, 1), "padding_mode": "circular", "stride": 2}),
    (3, (2, 2, 2), {"padding": "valid"}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize(("axes", "kernel", "options"), OPTIONS, ids=str)
@pytest.mark.parametrize("multiplier", [1, 2])
def test_the_variance_of_the_response_of_any_filter_is_its_quadratic_form(axes, kernel, options, multiplier):
    maps = random(3, 2, *((19,) if axes == 1 else (7, 9, 10))).cumsum(-1) + 4
    layer = CONVOLUTION[axes](2, 2 * multiplier, kernel, groups=2, bias=False, dtype=torch.float64, **options)
    found = sk.patch_covariance(layer, [maps[:1], maps[1:]], shrink=False)
    with torch.no_grad():
        layer.weight.copy_(random(*layer.weight.shape, seed=1))
        responses = by_channel(layer(maps))
    variance, mean = torch.var_mean(responses, 1, correction=0)
    filters = layer.weight.detach()[:, 0]
    assert_close(quadratic(filters, found.layers["weight"]), variance)
    assert_close((filters.flatten(1) * found.means["weight"]).sum(-1), mean)
    assert found.samples["weight"] == responses.shape[1]


class Causal(nn.Conv1d):
    """Pads in front only, as networks of sound and of language do."""

    def forward(self, sequence):
        return super().forward(F.pad(sequence, (self.kernel_size[0] - 1, 0)))


def test_a_causal_layer_is_seen_as_it_pads():
    layer, sequences = Causal(3, 3, 4, groups=3, bias=False).double(), random(5, 3, 11).cumsum(-1)
    found = sk.patch_covariance(layer, sequences, shrink=False)
    responses = by_channel(layer(sequences).detach())
    assert responses.shape[1] == 5 * 11
    assert_close(quadratic(layer.weight.detach()[:, 0], found.layers["weight"]), responses.var(1, correction=0))


def test_a_single_sequence_or_volume_is_one_input():
    for axes, layer in ((1, nn.Conv1d(2, 2, 3, groups=2)), (3, nn.Conv3d(2, 2, 3, groups=2))):
        batch = inputs(axes, 1)
        one, same = (sk.patch_covariance(layer, given) for given in (batch[0], batch))
        assert torch.equal(one.layers["weight"], same.layers["weight"])


@pytest.mark.parametrize("axes", AXES)
def test_inputs_smaller_than_a_kernel_are_refused(axes):
    with pytest.raises(sk.ModelError, match="Kernel size can't be greater than actual input size"):
        sk.patch_covariance(classifier(axes)[5], torch.ones(1, 4, *[1] * axes))


@pytest.mark.parametrize("axes", AXES)
def test_sensitivity_is_the_mean_squared_gradient_of_the_log_probabilities(axes):
    """Of the last depthwise layer: the mean square over the classes, of their own probabilities, of the gradient."""
    network, batch = classifier(axes).double(), inputs(axes, 400).double()
    found = sk.sensitivity(network, batch, seed=3)
    assert {name: tuple(values.shape) for name, values in found.items()} == {"1": (6,), "5": (8,)}
    maps = network[:6](batch).detach().requires_grad_()
    logs = network[6:](maps).log_softmax(1)
    expected = torch.zeros(8, dtype=torch.float64)
    for label in range(CLASSES):
        (gradient,) = torch.autograd.grad(logs[:, label].sum(), maps, retain_graph=True)
        squares = gradient.square().flatten(2).sum(2)
        expected += (logs[:, label, None].exp().detach() * squares).mean(0)
    torch.testing.assert_close(found["5"], expected, rtol=0.2, atol=1e-3 * float(expected.max()))


@pytest.mark.parametrize("axes", AXES)
def test_errors_are_those_of_answers_computed_by_hand(axes):
    network = classifier(axes).double()
    other, batch = changed(network), inputs(axes).double()
    with torch.no_grad():
        before, after = network[:5](batch), other[:5](batch)
        answers, local, moved = network[5](before), other[5](before), other[5](after)
    whole = by_channel(answers)
    whole = (whole - whole.mean(1, keepdim=True)).square().sum()
    found = sk.diagnose(network, other, batch.split(7)).layers
    assert [one.layer for one in found] == list(LAYERS)
    assert found[1].local == pytest.approx(float((local - answers).square().sum() / whole))
    assert found[1].cumulative == pytest.approx(float((moved - answers).square().sum() / whole))
    assert found[0].local == found[0].cumulative > 0


@pytest.mark.parametrize("axes", AXES)
def test_no_input_gives_more_than_the_bound(axes):
    """The gains on a finer grid of frequencies, by sums of waves."""
    network = classifier(axes)
    other = changed(network)
    for layer, one in zip(LAYERS, sk.diagnose(network, other).layers, strict=True):
        filters, difference = (
            weight.detach()[:, 0].to(torch.complex128)
            for weight in (network[int(layer)].weight, network[int(layer)].weight - other[int(layer)].weight)
        )
        gains = []
        for kernels in (filters, difference):
            for _ in range(axes):
                grid = torch.linspace(0, 2 * torch.pi, 97, dtype=torch.float64)
                wave = torch.exp(1j * torch.outer(torch.arange(kernels.shape[1]), grid))
                kernels = torch.tensordot(kernels, wave, dims=([1], [0]))
            gains.append(kernels.abs().flatten(1).amax(1))
        exact = float((gains[1] / gains[0]).max())
        assert 0.98 * exact <= one.bound <= 1.1 * exact


@pytest.mark.parametrize("axes", AXES)
def test_statistics_become_those_of_the_reference(axes):
    """The outputs of the batch norm, and of the layer without one."""
    network, batch = classifier(axes), inputs(axes, 64)
    other = changed(network)
    found = sk.recalibrate(other, batch.split(20), reference=network)
    with torch.no_grad():
        for stop in (3, 6):
            wanted, moved, got = (by_channel(one[:stop](batch)) for one in (network, other, found))
            torch.testing.assert_close(got.mean(1), wanted.mean(1), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(got.std(1), wanted.std(1), rtol=1e-3, atol=1e-4)
            assert ((moved.std(1) - wanted.std(1)).abs() > 0.01 * wanted.std(1)).any()


@pytest.mark.parametrize("axes", AXES)
def test_inputs_are_counted_that_are_classified_correctly(axes):
    network, batch = classifier(axes), inputs(axes)
    with torch.no_grad():
        labels = network(batch).argmax(1)
    labels[:6] = (labels[:6] + 1) % CLASSES
    whole = sk.evaluate(network, [(batch, labels)])
    assert whole.top1 == 0.75
    singly = sk.evaluate(network, torch.utils.data.TensorDataset(batch, labels))
    assert torch.equal(singly.correct1, whole.correct1)
    keyed = sk.evaluate(network, {"input_values": batch.numpy(), "labels": labels})
    assert torch.equal(keyed.correct1, whole.correct1)


def replacement_of(bank, filters):
    count = len(bank)
    return Replacement(
        bank=bank,
        filters=filters,
        model=np.full(count, "doubled"),
        numbers=torch.ones(count, dtype=torch.long),
        r2=torch.ones(count, dtype=torch.float64),
    )


@pytest.mark.parametrize("axes", AXES)
def test_kernels_are_replaced_and_constrained_layers_baked(axes):
    network, batch = classifier(axes), inputs(axes, 4)
    bank = sk.extract(network)
    doubled: FilterBank = bank.with_filters([2 * layer.kernels for layer in bank])
    replaced = sk.replace(network, replacement_of(bank, doubled), layers=["1"])
    assert torch.equal(replaced[1].weight, 2 * network[1].weight)
    assert torch.equal(replaced[5].weight, network[5].weight)
    constrained = sk.constrain(network, sk.fit(bank), "scales+amplitudes")
    assert len(list(constrained[1].parametrizations.weight)) == 1
    baked = sk.bake(constrained)
    assert type(baked[1]) is type(network[1])
    with torch.no_grad():
        torch.testing.assert_close(baked(batch), constrained(batch))


@pytest.mark.parametrize("model", ["ideal", "jet2", "sparse3", ("sharpen", "dog")], ids=str)
@pytest.mark.parametrize("axes", AXES)
def test_a_constrained_network_starts_at_its_models(axes, model):
    """Infinite scales start close by, all others exactly."""
    network = classifier(axes)
    fit = sk.fit(sk.extract(network), model)
    constrained, replaced = sk.constrain(network, fit, "scales+coefficients"), sk.replace(network, fit)
    infinite = fit.sigma.isinf().any(1)
    for layer, part in fit.bank.parts():
        found, wanted = (one.get_submodule(layer.name).weight[:, 0].detach() for one in (constrained, replaced))
        error = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
        assert (error[~infinite[part]] < 1e-6).all()
        assert (error < 0.05).all()
    constrained(inputs(axes, 4)).square().sum().backward()
    for layer, part in fit.bank.parts():
        if not (fit.family[part] != "").any():  # a jet has no form on one tap along an axis
            assert axes == 3
            continue
        kernel = constrained.get_submodule(layer.name).parametrizations.weight[0]
        assert kernel.scales.theta.grad.abs().max() > 0
        assert tuple(kernel.sigma.shape) == (len(layer), axes)


def test_oriented_filters_cannot_be_constrained():
    network = nn.Sequential(nn.Conv2d(4, 4, 5, groups=4))
    fit = sk.fit(sk.extract(network), "oriented")
    with pytest.raises(sk.ModelError, match="cannot be constrained, since t_along, t_across, angle are not the scales"):
        sk.constrain(network, fit)


@cache
def fit_inside(axes):
    return sk.fit_in_network(classifier(axes), inputs(axes, 60), "sparse2")


@pytest.mark.parametrize("axes", AXES)
def test_fits_inside_the_network_help_the_next_layer(axes):
    network, batch, inside = classifier(axes), inputs(axes, 60), fit_inside(axes)
    covariance = sk.patch_covariance(network, batch)
    plain = sk.fit(sk.extract(network), "sparse2", criterion="response", covariance=covariance)
    with torch.no_grad():
        original = network[:5](inputs(axes, 60, seed=5))
        errors = [
            float((sk.replace(network, fit)[:5](inputs(axes, 60, seed=5)) - original).square().mean())
            for fit in (plain, inside)
        ]
    assert errors[1] < errors[0]


def test_a_layer_without_models_stays_as_it_is_in_a_fit_inside_the_network():
    """A jet has no form on one tap along an axis."""
    network, fit = classifier(3), fit_inside(3)
    assert set(fit.family[6:]) == {""}
    assert torch.equal(sk.replace(network, fit)[5].weight, network[5].weight)


@pytest.mark.parametrize("axes", AXES)
def test_networks_are_compressed(axes):
    network, batch = classifier(axes), inputs(axes, 40)
    small = sk.compress(network, batch, budget=0.7, models=["ideal", "sparse2"])
    assert small.share <= 0.7
    assert set(small.chosen.model) - {"keep"}
    assert tuple(small.module(batch).shape) == (40, CLASSES)


def test_keys_do_not_compete_for_filters_of_one_or_three_axes():
    from scalekeys.networks.changing.compress import CANDIDATES, KEYS, candidates_for

    banks = {axes: sk.extract(classifier(axes)) for axes in AXES}
    assert list(candidates_for(banks[2])) == list(CANDIDATES)
    for axes in (1, 3):
        assert list(candidates_for(banks[axes])) == [name for name in CANDIDATES if name != KEYS]


REAL = {"mamba": (mamba, tokens, (4,), 2), "conformer": (conformer, sounds, (15,), 2)}


@pytest.fixture(scope="module", params=list(REAL))
def real(request):
    pytest.importorskip("transformers")
    build, batch, size, layers = REAL[request.param]
    network = build()
    bank = sk.extract(network)
    assert bank.sizes == (size,)
    assert len(bank.layers) == layers
    return network, batch()


def test_real_modules_are_seen_as_they_run(real):
    """The variance of the outputs of each convolution, caught where it is computed."""
    network, batch = real
    found, seen = sk.patch_covariance(network, batch, shrink=False), {}
    bank = sk.extract(network)
    places = {layer.name: network.get_submodule(layer.name).weight.data_ptr() for layer in bank}

    class Catching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            output = func(*args, **(kwargs or {}))
            if func is F.conv1d:
                weight = args[1] if len(args) > 1 else kwargs["weight"]
                seen.update({name: output for name, place in places.items() if place == weight.data_ptr()})
            return output

    with torch.no_grad(), Catching():
        network(batch)
    assert found.unseen == ()
    for layer in bank:
        responses = by_channel(seen[layer.name].double())
        assert found.samples[layer.name] == responses.shape[1]
        filters = layer.kernels.double()
        torch.testing.assert_close(
            quadratic(filters, found.layers[layer.name]), responses.var(1, correction=0), rtol=1e-4, atol=1e-9
        )


def test_real_modules_depend_on_their_layers(real):
    network, batch = real
    for values in sk.sensitivity(network, batch).values():
        assert (values > 0).any()
    same = sk.diagnose(network, network, batch).layers
    assert [one.local for one in same] == [0, 0]
    apart = sk.diagnose(network, changed(network), batch).layers
    assert all(one.local > 1e-3 for one in apart)
    assert all(one.cumulative > 1e-3 for one in apart)


def test_real_modules_are_recalibrated(real):
    network, batch = real
    other = changed(network)
    found = sk.recalibrate(other, batch.split(10), reference=network)
    with torch.no_grad():
        before, moved, after = (output_of(one, batch) for one in (network, other, found))
    assert (after - before).square().mean() < (moved - before).square().mean()


def output_of(network, batch):
    output = network(batch)
    return output if isinstance(output, torch.Tensor) else output.logits


def test_real_modules_are_replaced_constrained_and_fitted_inside(real):
    network, batch = real
    fit = sk.fit_in_network(network, batch, "sparse3")
    with torch.no_grad():
        replaced = output_of(sk.replace(network, fit), batch)
        plain = sk.fit(sk.extract(network), "jet2")
        constrained = output_of(sk.constrain(network, plain), batch)
        expected = output_of(sk.replace(network, plain), batch)
    assert replaced.isfinite().all()
    torch.testing.assert_close(constrained, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    labels = output_of(network, batch).argmax(1)
    assert sk.evaluate(network, [(batch, labels)]).top1 == 1
    small = sk.compress(network, batch, budget=0.9, models=["ideal", "smooth", "sparse3"])
    assert small.share <= 0.9
