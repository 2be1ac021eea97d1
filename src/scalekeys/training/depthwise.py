"""The depthwise filters that a training starts from, and what of them it learns."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import RecipeError
from scalekeys.filters import FilterBank, Replacement, assign_keys, master_keys
from scalekeys.filters.replacement import taps_of
from scalekeys.filters.window import in_window
from scalekeys.fitting import Fit, fit
from scalekeys.fitting.spec import parse_spec
from scalekeys.networks import constrain, replace
from scalekeys.networks.layers import depthwise_layers
from scalekeys.scalespace import FAMILIES, template_plan
from scalekeys.training.recipe import Depthwise

_ALPHA = 0.5256
"""Strength of `sharpen` to start at: the published one."""
_PLAIN = ("as-is", "noise", "keys")


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
        ready = replace(network, _random(bank, wanted, np.random.default_rng([seed, len(bank)])))
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
    if not has_model(wanted):
        if wanted.learn not in ("all", "none"):
            raise RecipeError(
                f"depthwise.learn: {wanted.learn} needs filters with a model, such as depthwise.filters: ideal8, not "
                f"{wanted.filters!r}"
            )
    else:
        parse_spec(model_of(wanted.filters))


def _moved(models: Fit, sigma: float) -> Fit:
    """Return a fit at another scale, whose filters have the norms that they had without their means."""
    values = models.values
    kinds = [FAMILIES[name] for name in models.spec.families]
    second = torch.tensor([family.has_alpha or family.two_scales for family in kinds])[values.family.cpu().clamp(min=0)]
    parameters = torch.full_like(values.parameters, sigma**2)
    parameters[:, 1] = torch.where(second.to(parameters.device), values.parameters[:, 1], parameters[:, 1])
    moved = dataclasses.replace(models, values=dataclasses.replace(values, parameters=parameters))
    ratio = (_norms(models) / _norms(moved)).nan_to_num(1.0)
    coefficients = values.coefficients * ratio[:, None].to(values.coefficients)
    return dataclasses.replace(moved, values=dataclasses.replace(moved.values, coefficients=coefficients))


def _norms(models: Fit) -> Float[Tensor, "filters"]:
    """Return the norm of each modelled filter without its mean."""
    kernels = models.kernels()
    assert isinstance(kernels, FilterBank)
    return torch.cat(
        [layer.filters.double().flatten(1).var(1, correction=0) * layer.filters[0].numel() for layer in kernels]
    ).sqrt()


def has_model(wanted: Depthwise) -> bool:
    """Tell whether the filters are those of a model, which has scales."""
    return wanted.filters not in _PLAIN


def model_of(filters: str) -> str | Sequence[str]:
    """Return the model that `filters` names, for :func:`scalekeys.fit`."""
    return tuple(filters.split(",")) if "," in filters else filters


def _frozen(network: nn.Module) -> nn.Module:
    for layer in depthwise_layers(network, open_module(network)).values():
        layer.weight.requires_grad_(False)
    return network


def _random(bank: FilterBank, wanted: Depthwise, numbers: np.random.Generator) -> Replacement:
    """Return other filters for each layer: of each kind the same number, in random order."""
    stacks, names = [], []
    for layer in bank:
        filters, kinds = _drawn(wanted, len(layer), layer.size, numbers)
        stacks.append((wanted.norm * _unit(filters)).to(layer.filters))
        names += kinds
    count = taps_of(bank)
    model = np.array(names)
    return Replacement(bank, bank.with_filters(stacks), model, count, torch.ones(len(bank), dtype=torch.float64))


def _drawn(
    wanted: Depthwise, channels: int, size: tuple[int, int], numbers: np.random.Generator
) -> tuple[Float[Tensor, "channels rows cols"], list[str]]:
    if wanted.filters == "noise":
        return torch.from_numpy(numbers.standard_normal((channels, *size))), ["noise"] * channels
    if wanted.filters == "keys":
        kinds = [f"key {number}" for number in range(1, 9)]
        candidates = in_window(master_keys(), size)
        chosen = numbers.permutation(np.arange(channels) % len(kinds))
        return candidates[chosen], [kinds[index] for index in chosen]
    kinds = list(parse_spec(model_of(wanted.filters)).families)
    components = [_components(name, size, wanted.sigma) for name in kinds]
    chosen = numbers.permutation(np.arange(channels) % len(kinds))
    filters = torch.stack([_mixture(components[index], numbers) for index in chosen])
    return filters, [kinds[index] for index in chosen]


def _components(name: str, size: tuple[int, int], sigma: float) -> Float[Tensor, "components rows cols"]:
    """Return the components of a family at a scale, each of norm 1."""
    second = _ALPHA if FAMILIES[name].has_alpha else sigma**2
    parameters = torch.tensor([[sigma**2, second]], dtype=torch.float64)
    return _unit(template_plan(name, size)(parameters)[0, 0])


def _unit(filters: Tensor) -> Tensor:
    """Bring filters to norm 1."""
    norm: Tensor = torch.linalg.vector_norm(filters, dim=(-2, -1), keepdim=True)
    return filters / norm


def _mixture(components: Tensor, numbers: np.random.Generator) -> Tensor:
    """Return one component as it is, and of several a random mixture."""
    if len(components) == 1:
        return components[0]
    weights = torch.from_numpy(numbers.standard_normal(len(components)))
    mixture: Tensor = torch.tensordot(weights, components, 1)
    return mixture
