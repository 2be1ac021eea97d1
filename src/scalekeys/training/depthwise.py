"""The depthwise filters that a training starts from, and what of them it learns."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import RecipeError
from scalekeys.filters import FilterBank, assign_keys
from scalekeys.fitting import Fit, fit
from scalekeys.fitting.spec import parse_spec
from scalekeys.networks import constrain, replace
from scalekeys.networks.running.depthwise_layers import depthwise_layers
from scalekeys.scalespace import FAMILIES
from scalekeys.training.drawn_filters import INITIALISATIONS, drawn, model_of
from scalekeys.training.recipe import Depthwise

_PLAIN = ("as-is", "noise", "matched-noise", "keys", *INITIALISATIONS)
_NEVER_NEAREST = ("noise", "matched-noise", *INITIALISATIONS)

_VARIANCES = ("t", "tx", "ty")  # parameters that are the variance of an axis, by the names of a parametrization


def prepared(network: nn.Module, wanted: Depthwise, seed: int) -> nn.Module:
    """Return a network with the depthwise filters that a recipe asks for, of which what it says is learned.

    Parameters
    ----------
    network : nn.Module
    wanted : Depthwise
    seed : int
        Of noise, and of the random assignment of filters to channels.

    Raises
    ------
    RecipeError
        If these wishes make no sense together.
    ModelError
        If `filters` names no model, or the kernels are too small for it.
    """
    check(wanted)
    bank = extract(network)
    if wanted.filters == "as-is":
        ready = network
    elif wanted.filters == "keys" and wanted.assignment == "nearest":
        ready = replace(network, assign_keys(bank))
    elif has_model(wanted) and wanted.assignment == "nearest":
        ready = replace(network, fit(bank, model_of(wanted.filters)))
    else:
        ready = replace(network, drawn(bank, wanted, np.random.default_rng([seed, len(bank)])))
    if wanted.learn == "all":
        return ready
    if wanted.learn == "none":
        return _frozen(ready)
    models = fit(extract(ready), model_of(wanted.filters))
    if wanted.start is not None:
        models = _moved(models, wanted.start)
    return constrain(ready, models, wanted.learn, tie=wanted.tie, scale=wanted.scale)


def check(wanted: Depthwise) -> None:
    """Refuse wishes that make no sense together.

    Raises
    ------
    RecipeError
        If scales are to be learned of filters without a model, or are to start somewhere but not to be learned.
    ModelError
        If there is no such model.
    """
    if wanted.start is not None and "scales" not in wanted.learn.split("+"):
        raise RecipeError(
            "depthwise.start: is for scales that are learned; set depthwise.learn: scales, or leave it out"
        )
    if wanted.change != "none" and (wanted.learn not in ("all", "none") or not _is_drawn(wanted)):
        raise RecipeError(
            f"depthwise.change: {wanted.change} is for filters that are drawn at random and then free or frozen; set "
            "depthwise.filters, depthwise.assignment: random and depthwise.learn: all or none, or leave it out"
        )
    if not has_model(wanted):
        if wanted.learn not in ("all", "none"):
            raise RecipeError(
                f"depthwise.learn: {wanted.learn} needs filters with a model, such as depthwise.filters: ideal8, not "
                f"{wanted.filters!r}"
            )
    else:
        parse_spec(model_of(wanted.filters))


def _is_drawn(wanted: Depthwise) -> bool:
    return wanted.filters != "as-is" and (wanted.assignment == "random" or wanted.filters in _NEVER_NEAREST)


def _moved(models: Fit, sigma: float) -> Fit:
    """Return a fit at another scale, whose filters have the norms that they had without their means."""
    values = models.values
    parameters = values.parameters.clone()
    for index, name in enumerate(models.spec.families):
        variances = [place for place, own in enumerate(FAMILIES[name].parametrization.names) if own in _VARIANCES]
        rows = (values.family == index).nonzero()[:, 0]
        parameters[rows[:, None], torch.tensor(variances, device=rows.device)] = sigma**2
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
