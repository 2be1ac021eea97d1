"""The depthwise filters that a training starts from, and what of them it learns."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import FilterError, RecipeError
from scalekeys.filters import FilterBank, replacement
from scalekeys.fitting import Fit, fit
from scalekeys.fitting.spec import parse_spec
from scalekeys.modelling import METHOD, model_filters
from scalekeys.networks import constrain, replace
from scalekeys.networks.constrained.learned_offsets import learn_offsets
from scalekeys.networks.constrained.modelled_filters import KernelNorm
from scalekeys.networks.running.depthwise_layers import depthwise_layers
from scalekeys.nn import ScaleSpaceConv1d, ScaleSpaceConv2d, ScaleSpaceConv3d
from scalekeys.paper import TEMPLATE_METHODS
from scalekeys.scalespace import FAMILIES
from scalekeys.training.drawn_filters import INITIALISATIONS, drawn, model_of, trained_filters
from scalekeys.training.recipe import Depthwise

_PLAIN = ("as-is", "noise", "matched-noise", *INITIALISATIONS)
_NEVER_NEAREST = ("noise", "matched-noise", *INITIALISATIONS)

_SCALE_SPACE = "scale-space"
_OF_LAYERS = ("scales+coefficients", "coefficients")  # what layers of their own learn

_VARIANCES = ("t", "tx", "ty")  # parameters that are the variance of an axis, by the names of a parametrization


def prepared(network: nn.Module, wanted: Depthwise, seed: int) -> nn.Module:
    """Return a network with the depthwise filters that a recipe asks for, of which what it says is learned.

    `seed`: of noise, and of the random assignment of filters to channels.
    Raises RecipeError if these wishes make no sense together, or the filters of another network are to choose, and its
    layers are not those of this one; CheckpointError if that network cannot be read; ModelError if `filters` names no
    model, or the kernels are too small for it.
    """
    check(wanted)
    if wanted.layers == _SCALE_SPACE:
        return _with_scale_space_layers(network, wanted)
    ready = _started(network, wanted, seed)
    if wanted.learn == "all":
        return ready
    if wanted.learn == "none":
        return _frozen(ready)
    if wanted.learn == "offsets":
        return learn_offsets(ready)
    models = fit(extract(ready), model_of(wanted.filters))
    if wanted.start is not None or wanted.alpha is not None:
        models = _moved(models, wanted)
    norm: KernelNorm = "unit" if wanted.norm == "unit" else "free"
    return constrain(ready, models, wanted.learn, tie=wanted.tie, scale=wanted.scale, norm=norm)


def _started(network: nn.Module, wanted: Depthwise, seed: int) -> nn.Module:
    """Return a network with the depthwise filters that a training starts from, as plain weights."""
    if wanted.filters == "as-is":
        return network
    bank = extract(network)
    if _is_drawn(wanted):
        return replace(network, drawn(bank, wanted, np.random.default_rng([seed, len(bank)])))
    chooser = bank if wanted.chosen_from is None else trained_filters(wanted.chosen_from)
    try:
        return replace(network, replacement(model_filters(chooser, wanted.filters), into=bank))
    except FilterError as error:
        raise RecipeError(f"depthwise.chosen_from: {error}") from error


def check(wanted: Depthwise) -> None:
    """Refuse wishes that make no sense together.

    Raises
    ------
    RecipeError
        If scales are to be learned of filters without a model, or settings of learned scales, or of filters that are
        chosen, stand beside filters that are not.
    ModelError
        If there is no such model.
    """
    if wanted.layers == _SCALE_SPACE:
        _check_layers(wanted)
        return
    learned = wanted.learn.split("+")
    for name, value in (("start", wanted.start), ("alpha", wanted.alpha)):
        if value is not None and "scales" not in learned:
            raise RecipeError(
                f"depthwise.{name}: is for scales that are learned; set depthwise.learn: scales, or leave it out"
            )
    if wanted.norm == "unit" and wanted.learn != "scales":
        raise RecipeError(
            f"depthwise.norm: unit leaves out amplitudes and is for learned scales alone, not depthwise.learn: "
            f"{wanted.learn}; set depthwise.learn: scales, or give a number"
        )
    if wanted.chosen_from is not None and (wanted.filters == "as-is" or _is_drawn(wanted)):
        raise RecipeError(
            "depthwise.chosen_from: is for filters that are chosen by what they are nearest to; set "
            "depthwise.assignment: nearest, and depthwise.filters: keys, method:B or a model, or leave it out"
        )
    if wanted.change != "none" and (wanted.learn not in ("all", "none") or not _is_drawn(wanted)):
        raise RecipeError(
            f"depthwise.change: {wanted.change} is for filters that are drawn at random and then free or frozen; set "
            "depthwise.filters, depthwise.assignment: random and depthwise.learn: all or none, or leave it out"
        )
    if wanted.filters.startswith(METHOD) and wanted.filters.removeprefix(METHOD) not in TEMPLATE_METHODS:
        methods = ", ".join(METHOD + name for name in TEMPLATE_METHODS)
        raise RecipeError(f"depthwise.filters: the paper has no {wanted.filters!r}; take one of {methods}")
    if has_model(wanted):
        parse_spec(model_of(wanted.filters))
    elif wanted.learn not in ("all", "none", "offsets"):
        raise RecipeError(
            f"depthwise.learn: {wanted.learn} needs filters with a model, such as depthwise.filters: ideal8, not "
            f"{wanted.filters!r}"
        )


def _check_layers(wanted: Depthwise) -> None:
    """Refuse what scale-space layers do not have."""
    if wanted.learn not in _OF_LAYERS or not has_model(wanted):
        raise RecipeError(
            "depthwise.layers: scale-space needs depthwise.filters with a model, such as jet2 or ideal8, and "
            f"depthwise.learn: {' or '.join(_OF_LAYERS)}, not {wanted.filters!r} and {wanted.learn!r}"
        )
    if wanted.tie == "network" or wanted.norm == "unit" or wanted.chosen_from is not None:
        raise RecipeError("depthwise.layers: scale-space goes without tie: network, norm: unit and chosen_from")


def _with_scale_space_layers(network: nn.Module, wanted: Depthwise) -> nn.Module:
    """Put layers whose scales and coefficients are drawn by the global generator in the place of depthwise layers."""
    derivatives = parse_spec(model_of(wanted.filters)).families
    for name, layer in depthwise_layers(network, open_module(network)).items():
        kind = {1: ScaleSpaceConv1d, 2: ScaleSpaceConv2d, 3: ScaleSpaceConv3d}[len(layer.kernel_size)]
        options = {"sigma": wanted.start, "learn_sigma": "scales" in wanted.learn, "tie": wanted.tie}
        network.set_submodule(name, kind.in_place_of(layer, None, derivatives, **options))
    return network


def _is_drawn(wanted: Depthwise) -> bool:
    return wanted.filters != "as-is" and (wanted.assignment == "random" or wanted.filters in _NEVER_NEAREST)


def _moved(models: Fit, wanted: Depthwise) -> Fit:
    """Return a fit at another scale or strength, whose filters have the norms that they had without their means."""
    values = models.values
    given = dict.fromkeys(_VARIANCES, wanted.start**2) if wanted.start is not None else {}
    given |= {"alpha": wanted.alpha} if wanted.alpha is not None else {}
    parameters = values.parameters.clone()
    for index, name in enumerate(models.spec.families):
        for place, own in enumerate(FAMILIES[name].parametrization.names):
            if own in given:
                parameters[values.family == index, place] = given[own]
    moved = dataclasses.replace(models, values=dataclasses.replace(values, parameters=parameters))
    ratio = (_norms(models) / _norms(moved)).nan_to_num(1.0)
    coefficients = values.coefficients * ratio[:, None].to(values.coefficients)
    return dataclasses.replace(moved, values=dataclasses.replace(moved.values, coefficients=coefficients))


def _norms(models: Fit) -> Float[Tensor, "filters"]:
    """Return the norm of each modelled filter without its mean."""
    kernels = models.kernels()
    assert isinstance(kernels, FilterBank)
    return torch.cat(
        [layer.kernels.double().flatten(1).var(1, correction=0) * layer.kernels[0].numel() for layer in kernels]
    ).sqrt()


def has_model(wanted: Depthwise) -> bool:
    """Tell whether the filters are those of a model, which has scales."""
    return wanted.filters not in _PLAIN


def _frozen(network: nn.Module) -> nn.Module:
    for layer in depthwise_layers(network, open_module(network)).values():
        layer.weight.requires_grad_(False)
    return network
