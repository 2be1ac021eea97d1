"""Constrained networks start at the fit; what is learned moves, and nothing else does."""

import copy

import pytest
import torch
from depthwise_network import (
    CONSTANT,
    DEPTHWISE,
    ZERO,
    constrained_layer,
    images,
    kernel_of,
    kernels_of,
    layer_of,
    random_filters,
    smoothing,
)
from torch import nn
from torch.nn.utils import clip_grad_norm_, parametrizations, prune

import scalekeys as sk
from scalekeys.errors import FilterError, ModelError
from scalekeys.networks.constrained.learned_scales import SCALE_KINDS
from scalekeys.networks.constrained.parameter_layout import TIES
from scalekeys.networks.constrained.scale_space_kernel import LEARN

START = 1e-6
MODELS = ["ideal8", ("jet1", "smooth"), ("jet2", "sharpen", "dog"), ("jet3", "dx+"), "second-order", "sparse6", "auto"]
NEAR = 0.02  # of the norm of a filter, where a scale is infinite
LEARNED = {
    "none": set(),
    "scales": {"scales.theta"},
    "amplitudes": {"amplitude", "offset"},
    "coefficients": {"coefficients", "offset"},
    "scales+amplitudes": {"scales.theta", "amplitude", "offset"},
    "scales+coefficients": {"scales.theta", "coefficients", "offset"},
}


def assert_same_start(constrained, replaced, fit):
    """Filters start at their models; those with an infinite scale start close to them, at the largest finite one."""
    infinite = {layer.name: fit.sigma[part].isinf().any(-1) for layer, part in fit.bank.parts()}
    for name in kernels_of(constrained):
        found, wanted = (network.get_submodule(name).weight.detach() for network in (constrained, replaced))
        assert found.dtype == wanted.dtype
        finite = ~infinite[name]
        torch.testing.assert_close(found[finite], wanted[finite], rtol=START, atol=START * float(wanted.abs().max()))
        centred = wanted - wanted.mean((-2, -1), keepdim=True)
        assert bool(((found - wanted).flatten(1).norm(dim=1) <= NEAR * centred.flatten(1).norm(dim=1) + START).all())


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_it_starts_at_the_modelled_filters_of_every_family(network, model):
    network.row = nn.Identity() if model == "sparse6" else network.row  # in a row most derivatives are no terms
    fit = sk.fit(sk.extract(network), model)
    replaced = sk.replace(network, fit)
    for learn in ("scales", "scales+coefficients", "amplitudes"):
        constrained = sk.constrain(network, fit, learn)
        assert_same_start(constrained, replaced, fit)
        torch.testing.assert_close(constrained(images()), replaced(images()), rtol=NEAR, atol=NEAR)
    assert len(kernels_of(constrained)) >= 3


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("ideal8", {"window": "published"}),
        (("jet3", "dog"), {"window": "published"}),
        ("ideal8", {"criterion": "variance"}),
        ("ideal8", {"criterion": "variance-continuous"}),
        ("ideal8", {"scales": "common"}),
        ("ideal8", {"normalization": "moment"}),
        ("jet2", {"criterion": "response", "covariance": sk.natural_image_covariance((7, 7))}),
    ],
    ids=str,
)
def test_it_starts_at_the_modelled_filters_of_every_fit(model, options):
    layer = nn.Sequential(layer_of(torch.cat([sk.master_keys(), random_filters(4, 7, 7)])))
    fit = sk.fit(sk.extract(layer), model, **options)
    assert_same_start(sk.constrain(layer, fit), sk.replace(layer, fit), fit)


@pytest.mark.parametrize("tie", ["none", "filter"])
@pytest.mark.parametrize("kind", SCALE_KINDS)
def test_scales_that_are_common_already_start_there_when_they_are_tied(kind, tie):
    layer = nn.Sequential(layer_of(sk.master_keys()))
    fit = sk.fit(sk.extract(layer), scales="common")
    assert_same_start(sk.constrain(layer, fit, tie=tie, scale=kind), sk.replace(layer, fit), fit)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_has_the_type_of_the_network(network, fit, dtype):
    network = network.to(dtype)
    constrained = sk.constrain(network, fit)
    statuses = {layer.name: fit.status[part] for layer, part in fit.bank.parts()}
    for layer in fit.kernels():
        weight = constrained.get_submodule(layer.name).weight
        assert weight.dtype == dtype
        rounding = torch.finfo(dtype).eps if dtype != torch.float64 else START
        finite = ~torch.tensor([name == "polynomial" for name in statuses[layer.name][:9]])
        torch.testing.assert_close(weight[:9, 0][finite].float(), layer.kernels[:9][finite], rtol=rounding, atol=START)


def test_the_network_that_is_given_stays_as_it_is(network, fit):
    before = copy.deepcopy(network)
    constrained = sk.constrain(network, fit)
    assert str(network) == str(before)
    assert all(map(torch.equal, network.state_dict().values(), before.state_dict().values()))
    assert not {id(value) for value in network.parameters()} & {id(value) for value in constrained.parameters()}


def test_modes_stay(network, fit):
    network.train()
    network.down.eval()
    constrained = sk.constrain(network, fit)
    for name, layer in network.named_modules():
        assert constrained.get_submodule(name).training == layer.training
    assert [kernel.training for kernel in kernels_of(constrained).values()] == [True, False, True, True]


def test_filters_without_a_model_are_weights_as_before(constrained, network):
    free = constrained.wide.parametrizations.weight.original
    assert len(kernel_of(constrained.wide).offset) == 10
    assert torch.equal(free, network.wide.weight[[ZERO, CONSTANT]])
    constrained(images()).square().sum().backward()
    assert (free.grad != 0).any()


def test_filters_below_a_threshold_are_weights_as_before(network, fit):
    constrained = sk.constrain(network, fit, min_r2=0.8)
    start = 0
    for layer in fit.bank:
        modelled = fit.r2[start : start + len(layer)] >= 0.8
        start += len(layer)
        after, before = (one.get_submodule(layer.name).weight for one in (constrained, network))
        assert torch.equal(after[~modelled], before[~modelled])
        assert ((after[modelled] - before[modelled]).abs().amax((1, 2, 3)) > 0).all()
        count, (rows, cols) = int(modelled.sum()), layer.size
        expected = f"{count} of {len(layer)} filters, {rows}x{cols}, learn='scales'"
        assert expected in str(constrained.get_submodule(layer.name))


def test_layers_are_chosen_by_name(network, fit):
    assert list(kernels_of(sk.constrain(network, fit, layers=["wide", "s*"]))) == ["wide", "small"]
    assert list(kernels_of(sk.constrain(network, fit, keep=["wide", "s*"]))) == ["down", "row"]
    one = sk.constrain(network, fit, layers="s*")
    assert list(kernels_of(one)) == ["small"]
    assert type(one.wide) is nn.Conv2d


def test_a_layer_of_models_alone_has_nothing_else_to_learn(constrained):
    free = constrained.down.parametrizations.weight.original
    assert free.shape == (0, 1, 5, 5)
    assert not free.requires_grad


def test_what_was_frozen_stays_frozen(network, fit):
    constrained = sk.constrain(network.requires_grad_(False), fit, "scales")
    learned = [name for name, value in constrained.named_parameters() if value.requires_grad]
    assert learned == [f"{name}.parametrizations.weight.0.scales.theta" for name in DEPTHWISE]


def test_an_assignment_changes_the_filters_without_a_model(constrained):
    before = constrained.wide.weight.detach()
    constrained.wide.weight = torch.ones(12, 1, 7, 7)
    after = constrained.wide.weight
    assert torch.equal(after[ZERO:], torch.ones(2, 1, 7, 7))
    assert torch.equal(after[:ZERO], before[:ZERO])


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("how", ["normalised", "normalised before parametrizations", "spectral", "pruned"])
def test_weights_that_are_computed_are_modelled_as_they_are(network, how):
    match how:
        case "normalised":
            parametrizations.weight_norm(network.down)
        case "normalised before parametrizations":
            nn.utils.weight_norm(network.down)
        case "spectral":
            parametrizations.spectral_norm(network.down)
        case _:
            prune.l1_unstructured(network.down, "weight", amount=0.3)
    network(images())
    fit = sk.fit(sk.extract(network))
    constrained = sk.constrain(network, fit)
    assert_same_start(constrained, sk.replace(network, fit), fit)
    assert len(constrained.down.parametrizations.weight) == 1
    assert [name for name, _ in constrained.down.named_parameters(recurse=False)] == []


def test_a_constrained_network_is_constrained_anew(constrained):
    again = sk.constrain(constrained, sk.fit(sk.extract(constrained), "jet2"), layers=["wide"])
    assert kernel_of(again.wide).learn == "scales"
    assert len(again.wide.parametrizations.weight) == 1
    assert kernel_of(again.down).learn == "scales+amplitudes"
    assert torch.equal(again.down.weight, constrained.down.weight)


@pytest.mark.parametrize("learn", LEARN)
def test_what_is_learned_takes_gradients_and_the_rest_takes_none(network, fit, learn):
    constrained = sk.constrain(network, fit, learn)
    constrained(images()).square().sum().backward()
    for kernel in kernels_of(constrained).values():
        learned = {name for name, parameter in kernel.named_parameters() if parameter.requires_grad}
        assert learned == LEARNED[learn]
        assert {name for name, parameter in kernel.named_parameters() if parameter.grad is not None} == learned
    assert constrained.stem.weight.grad is not None


def test_amplitudes_scale_a_filter_and_coefficients_change_its_shape():
    filters = random_filters(3, 5, 5)
    scaled, kernel, _ = constrained_layer(filters, "jet2", "amplitudes")
    offset = kernel.offset[:, None, None]
    shape = (scaled.weight[:, 0] - offset).detach()
    norms = kernel.coefficients.view(3, 6).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    with torch.no_grad():
        kernel.amplitude *= 2
    torch.testing.assert_close(scaled.weight[:, 0] - offset, 2 * shape)
    _, kernel, fit = constrained_layer(filters, "jet2", "coefficients")
    assert torch.equal(kernel.amplitude, torch.ones_like(kernel.amplitude))
    assert torch.equal(kernel.coefficients.view(3, 6), fit.coefficients)


def test_a_sparse_model_keeps_its_number_of_terms():
    filters = random_filters(5, 5, 5)
    _, kernel, fit = constrained_layer(filters, "sparse4", "scales+coefficients")
    assert len(kernel.coefficients) == int((fit.coefficients != 0).sum()) <= 20


def test_it_learns_the_scales_of_another_layer():
    wanted = torch.tensor([[0.6, 1.5], [1.2, 0.8], [2.0, 0.5]], dtype=torch.float64)
    teacher = torch.stack([smoothing(x, y, 7) for x, y in wanted])
    start = torch.stack([smoothing(x, y, 7) for x, y in [(1.0, 1.0), (0.7, 1.4), (1.2, 1.2)]])
    student, kernel, _ = constrained_layer(start, "smooth", "scales")
    optimizer = torch.optim.LBFGS([kernel.scales.theta], max_iter=40, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = (student.weight[:, 0] - teacher).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(kernel.sigma, wanted, rtol=1e-3, atol=0)


def test_it_trains_like_any_network(constrained):
    classes = torch.arange(8) % 5
    optimizer = torch.optim.AdamW(constrained.parameters(), lr=1e-2)
    before = {name: kernel.sigma for name, kernel in kernels_of(constrained).items()}
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(constrained.train()(images(8)), classes)
        loss.backward()
        clip_grad_norm_(constrained.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    for name, kernel in kernels_of(constrained).items():
        assert not torch.allclose(kernel.sigma, before[name], equal_nan=True)
        assert kernel.scales.theta.isfinite().all()


def test_parameters_are_lists_of_numbers(constrained):
    """Recipes that spare vectors from weight decay spare scales, whose decay would be towards t = 0."""
    assert all(value.ndim == 1 for kernel in kernels_of(constrained).values() for value in kernel.parameters())


@pytest.mark.parametrize("tie", TIES)
def test_how_many_scales_there_are(network, fit, tie):
    constrained = sk.constrain(network, fit, tie=tie)
    frame = fit.to_pandas()
    for name, kernel in kernels_of(constrained).items():
        families = frame[frame.layer == name].family.dropna()
        isotropic, axes = int((families == "sharpen").sum()), 1 if name == "row" else 2
        expected = {"none": isotropic + axes * (len(families) - isotropic), "filter": len(families)}
        assert len(kernel.scales.theta) == expected.get(tie, 1)
    names = [name for name in constrained.state_dict() if name.endswith("theta")]
    assert names == [f"{name}.parametrizations.weight.0.scales.theta" for name in DEPTHWISE]


def test_one_scale_serves_the_network_and_its_copies(network, fit):
    constrained = copy.deepcopy(sk.constrain(network, fit, tie="network"))
    kernels = kernels_of(constrained).values()
    assert len([name for name, _ in constrained.named_parameters() if name.endswith("theta")]) == 1
    with torch.no_grad():
        kernel_of(constrained.wide).scales.theta.fill_(torch.tensor(1.44 / 0.05).log1p())
    for kernel in kernels:
        learned = kernel.sigma[~kernel.sigma.isnan()]
        torch.testing.assert_close(learned, torch.full_like(learned, 1.2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("tie", ["filter", "layer"])
def test_a_tied_scale_starts_at_the_geometric_mean(tie):
    filters = torch.stack([smoothing(0.5, 1.0, 7), smoothing(2.0, 1.5, 7)])
    _, kernel, _ = constrained_layer(filters, "smooth", tie=tie)
    variances = torch.tensor([[0.25, 1.0], [4.0, 2.25]], dtype=torch.float64)
    groups = variances if tie == "filter" else variances.view(1, 4)
    means = (groups + 0.05).log().mean(1).exp() - 0.05
    torch.testing.assert_close(kernel.scales.variances(), means, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("tie", "gaps"), [("none", 3), ("filter", 3), ("layer", 1), ("network", 1)])
def test_gaps_of_two_scales_are_tied_by_themselves(tie, gaps):
    pairs = [(0.5, 1.0), (0.8, 2.0), (1.0, 1.4)]
    filters = torch.stack([smoothing(inner, inner, 7) - smoothing(outer, outer, 7) for inner, outer in pairs])
    constrained, kernel, fit = constrained_layer(filters, "dog", tie=tie)
    assert len(kernel.scales.gap) == gaps
    assert len(kernel.scales.theta) == gaps
    if gaps == 3:
        torch.testing.assert_close(constrained.weight[:, 0], fit.kernels().layers[0].kernels)


def test_along_one_tap_there_is_no_scale():
    _, kernel, _ = constrained_layer(random_filters(4, 1, 7), ("smooth", "dx"), "scales")
    assert len(kernel.scales.theta) == 4
    assert kernel.sigma[:, 1].isnan().all()
    _, kernel, _ = constrained_layer(random_filters(4, 7, 1), ("smooth", "dy"), "scales")
    assert len(kernel.scales.theta) == 4
    assert kernel.sigma[:, 0].isnan().all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"learn": "scale"}, r"learn must be one of 'none', 'scales', .*, got 'scale'"),
        ({"tie": "axis"}, "tie must be one of 'none', 'filter', 'layer', 'network', got 'axis'"),
        ({"scale": "exp"}, "scale must be one of 'log', 'softplus', 'softplus-sigma', got 'exp'"),
        ({"norm": "l2"}, "norm must be one of 'free', 'unit', got 'l2'"),
        ({"norm": "unit", "learn": "amplitudes"}, "norm='unit' leaves out amplitudes, and learn='amplitudes' asks"),
        (
            {"norm": "unit", "discretization": "sampled"},
            "norm='unit' leaves out amplitudes, and discretization='sampled' solves for some; fit with it",
        ),
        (
            {"min_r2": 1},
            r"none of the filters in question has a model .*the largest r2 of all is 0.99\d\); lower min_r2",
        ),
        ({"min_r2": 50}, "min_r2 is a share of energy and at most 1, got 50"),
        ({"layers": ["stem"]}, "no layer is called 'stem'; the layers are wide, down, row, small"),
        ({"layers": "stem"}, "no layer is called 'stem'; the layers are"),
        ({"layers": []}, "no layer was chosen"),
        ({"keep": "*"}, r"every layer in question is kept \('\*'\)"),
    ],
)
def test_bad_options_are_refused(network, options, match):
    network.wide.weight.detach()[9] = 0  # the impulse, which has an exact model
    fit = sk.fit(sk.extract(network))
    with pytest.raises((ModelError, FilterError), match=match):
        sk.constrain(network, fit, **options)


def test_models_without_scales_are_refused(network):
    keys = sk.assign_keys(sk.extract(network.wide))
    with pytest.raises(ModelError, match=r"needs the scales of a fit.*got KeyAssignment; sk.replace takes any models"):
        sk.constrain(network.wide, keys)


def test_models_of_another_network_are_refused(network, fit):
    with pytest.raises(ModelError, match="it has no depthwise layer 'wide'"):
        sk.constrain(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), fit)
    network.more = nn.Conv2d(4, 4, 3, groups=4)
    with pytest.raises(ModelError, match="its layer 'more' was not modelled"):
        sk.constrain(network, fit)


def test_a_weight_that_something_else_computes_is_refused(network, fit):
    weight = network.wide.weight.detach()
    del network.wide._parameters["weight"]
    network.wide.weight = weight
    with pytest.raises(ModelError, match="layer 'wide': its weight is not a parameter but computed; make it one first"):
        sk.constrain(network, fit)
