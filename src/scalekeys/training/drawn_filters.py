"""Filters that are drawn by a seed for the channels of a layer: noise, keys, families, mixtures, and their controls."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from scalekeys.checkpoints import extract
from scalekeys.errors import FilterError, ModelError, RecipeError
from scalekeys.filters import FilterBank, LayerFilters, Replacement, master_keys, matched_noise_like
from scalekeys.filters.correspondence import corresponding_parts
from scalekeys.filters.replacement import taps_of
from scalekeys.filters.window import in_window
from scalekeys.fitting.spec import parse_spec
from scalekeys.modelling import KEYS, METHOD
from scalekeys.paper import method_templates
from scalekeys.scalespace import FAMILIES, GAP, template_plan
from scalekeys.training.building import TRAINED
from scalekeys.training.recipe import Depthwise

INITIALISATIONS = ("torch-default", "truncated-normal")
"""Filters that are drawn as layers initialise their weights, with norms of their own."""

_ALPHA = 0.5256
"""Strength of `sharpen` to start at: the published one."""
_WIDER = 2.56
"""The larger variance of `dog` divided by the smaller one: scales of a ratio of 1.6, as that nearest to a Laplacian."""
_STD = 0.02  # of timm and of ConvNeXt


def drawn(bank: FilterBank, wanted: Depthwise, numbers: np.random.Generator) -> Replacement:
    """Return other filters for each layer: of each kind the same number, in random order.

    `bank`: the filters in whose place they stand.
    `wanted`: which ones.
    Raises RecipeError if matched noise is to imitate a network with other depthwise layers.
    """
    imitated = _imitated(bank, wanted) if wanted.filters == "matched-noise" else [None] * len(bank.layers)
    stacks, names = [], []
    for layer, other in zip(bank, imitated, strict=True):
        filters, kinds = _of_layer(wanted, len(layer), layer.size, numbers, other)
        filters = _changed(filters, wanted, numbers)
        if wanted.filters not in INITIALISATIONS:
            filters = _unit(filters) * (1.0 if wanted.norm == "unit" else wanted.norm)
        stacks.append(filters.to(layer.kernels))
        names += kinds
    shares = torch.ones(len(bank), dtype=torch.float64)
    return Replacement(bank, bank.with_filters(stacks), np.array(names), taps_of(bank), shares)


def model_of(filters: str) -> str | Sequence[str]:
    """Return the model that `filters` names, for :func:`scalekeys.fit`: of keys and templates their families.

    >>> model_of("jet2"), model_of("dx,dy"), model_of("method:B")
    ('jet2', ('dx', 'dy'), 'ideal8')
    """
    if is_candidates(filters):
        return "ideal8"
    return tuple(filters.split(",")) if "," in filters else filters


def is_candidates(filters: str) -> bool:
    """Tell whether `filters` names eight given filters: the published keys, or the templates of a method."""
    return filters == KEYS or filters.startswith(METHOD)


def trained_filters(source: str) -> FilterBank:
    """Read the depthwise filters of a trained network: of a file, the folder of a training, or another source."""
    trained = Path(source) / TRAINED
    return extract(trained if trained.is_file() else source)


def _of_layer(
    wanted: Depthwise,
    channels: int,
    size: tuple[int, ...],
    numbers: np.random.Generator,
    imitated: LayerFilters | None = None,
) -> tuple[Float[Tensor, "channels rows cols"], list[str]]:
    kind = wanted.filters
    if kind == "noise":
        return torch.from_numpy(numbers.standard_normal((channels, *size))), [kind] * channels
    if kind in INITIALISATIONS:
        return _initialised(kind, (channels, *size), numbers), [kind] * channels
    if kind == "matched-noise":
        return _matched(wanted, channels, size, numbers, imitated), [kind] * channels
    if is_candidates(kind):
        kinds = [f"key {number}" for number in range(1, 9)]
        candidates = in_window(master_keys() if kind == KEYS else method_templates(kind.removeprefix(METHOD)), size)
        chosen = numbers.permutation(np.arange(channels) % len(kinds))
        return candidates[chosen], [kinds[index] for index in chosen]
    kinds = list(parse_spec(model_of(kind)).families)
    chosen = numbers.permutation(np.arange(channels) % len(kinds))
    filters = torch.stack([_of_family(kinds[index], size, wanted.sigma, numbers) for index in chosen])
    return filters, [kinds[index] for index in chosen]


def _initialised(kind: str, shape: tuple[int, ...], numbers: np.random.Generator) -> Tensor:
    """Draw weights as ``torch.nn.Conv2d`` does, or as timm does, whose cut at 100 standard deviations is none."""
    if kind == "torch-default":
        bound = prod(shape[1:]) ** -0.5
        return torch.from_numpy(numbers.uniform(-bound, bound, shape))
    return torch.from_numpy(_STD * numbers.standard_normal(shape))


def _imitated(bank: FilterBank, wanted: Depthwise) -> Sequence[LayerFilters | None]:
    """Return the layers of the network that matched noise imitates; None for each where it imitates families."""
    source = wanted.covariance_from
    if _is_model(source):
        return [None] * len(bank.layers)
    imitated = trained_filters(source)
    try:
        parts = corresponding_parts(bank, imitated, [True] * len(bank.layers))
    except FilterError as error:
        raise RecipeError(f"depthwise.covariance_from: {error}") from error
    at = {part.start: layer for layer, part in imitated.parts()}
    return [at[part.start] for part in parts if part is not None]


def _is_model(name: str) -> bool:
    try:
        parse_spec(model_of(name))
    except ModelError:
        return False
    return True


def _matched(
    wanted: Depthwise,
    channels: int,
    size: tuple[int, ...],
    numbers: np.random.Generator,
    imitated: LayerFilters | None,
) -> Tensor:
    if imitated is None:
        families = Depthwise(wanted.covariance_from, sigma=wanted.sigma)
        filters = _unit(_of_layer(families, channels, size, numbers)[0])
    else:
        filters = imitated.kernels.double()
    generator = torch.Generator().manual_seed(int(numbers.integers(2**63)))
    return matched_noise_like(FilterBank.from_tensor(filters), seed=generator).layers[0].kernels


def _changed(filters: Tensor, wanted: Depthwise, numbers: np.random.Generator) -> Tensor:
    """Turn each filter by an angle of its own, or put its taps in an order of its own."""
    if wanted.change == "rotated":
        angles = numbers.uniform(0, 360, len(filters))
        turned = [_rotated(one, angle) for one, angle in zip(filters.numpy(), angles, strict=True)]
        return torch.from_numpy(np.stack(turned))
    if wanted.change == "shuffled":
        flat = filters.flatten(1).numpy()
        return torch.from_numpy(numbers.permuted(flat, axis=1)).view_as(filters)
    return filters


def _rotated(kernel: np.ndarray, degrees: float) -> np.ndarray:
    """Turn a kernel about its centre, by splines of order 3 between its taps and zeros around it."""
    turned: np.ndarray = ndimage.rotate(kernel, degrees, reshape=False, order=3, mode="constant")
    return turned


def _of_family(name: str, size: tuple[int, ...], sigma: float, numbers: np.random.Generator) -> Float[Tensor, "*sides"]:
    """Return a filter of a family: its component, or of several a random mixture; at a random angle if it has one."""
    names = FAMILIES[name].parametrization.names
    angle = numbers.uniform(0, 2 * np.pi) if "angle" in names else 0.0
    components = _components(name, size, sigma, angle)
    if len(components) == 1:
        return components[0]
    mixture: Tensor = torch.tensordot(torch.from_numpy(numbers.standard_normal(len(components))), components, 1)
    return mixture


@lru_cache(maxsize=64)
def _components(name: str, size: tuple[int, ...], sigma: float, angle: float) -> Float[Tensor, "components *sides"]:
    """Return the components of a family at a scale and an angle, each of norm 1."""
    given = {"alpha": _ALPHA, "t_outer": max(_WIDER * sigma**2, sigma**2 + GAP), "angle": angle}
    values = [given.get(own, sigma**2) for own in FAMILIES[name].parametrization.names]
    parameters = torch.tensor([values], dtype=torch.float64)
    return _unit(template_plan(name, size)(parameters)[0])


def _unit(filters: Tensor) -> Tensor:
    """Bring filters to norm 1; one that is zero stays."""
    norm: Tensor = torch.linalg.vector_norm(filters, dim=(-2, -1), keepdim=True)
    return torch.where(norm > 0, filters / norm, filters)
