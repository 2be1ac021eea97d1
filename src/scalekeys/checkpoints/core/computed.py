"""Weights that a module computes from several tensors, where a state dict holds all that is needed.

A row of the table says which tensors stand for a weight, and what is computed of them: the same numbers as the module
has where it is evaluated.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating

Shape: TypeAlias = tuple[int, ...]
SCALED = "a scale beside it multiplies its float8 numbers, and not one for each channel; convert its weights to float"
"""Why a weight is left out whose scale is neither one number nor one for each output channel."""

_PART = re.compile(r"(?:^|\.)(weight_(?:[gvu]|orig|mask|bar)|parametrizations\.weight\..+)$")


@dataclass(frozen=True)
class Computed:
    """A weight that stands in several tensors of a source."""

    info: TensorInfo
    parts: tuple[str, ...]
    """Keys of the tensors that it is computed from, the one of the shape of the weight first."""
    compute: Callable[..., Tensor]
    """Gives the weight from these."""

    def value(self, load: Callable[[str], Tensor]) -> Tensor:
        """Compute the weight, in float32 at least."""
        first, *others = (load(part).detach() for part in self.parts)
        dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
        weight = self.compute(first.to(dtype), *(other.to(dtype) for other in others))
        return weight.to(getattr(torch, self.info.dtype))


def find_computed(tensors: Mapping[str, TensorInfo]) -> dict[str, Computed]:
    """Find the weights that can be computed, by the key that the weight would have.

    >>> parts = {"dw.weight_g": (8, 1, 1, 1), "dw.weight_v": (8, 1, 3, 3)}
    >>> find_computed({key: TensorInfo(shape, "float32") for key, shape in parts.items()})["dw.weight"].parts
    ('dw.weight_v', 'dw.weight_g')
    """
    families: dict[str, list[str]] = {}
    for key in tensors:
        if part := _PART.search(key):
            families.setdefault(key[: part.start(1)], []).append(key[part.start(1) :])
    found: dict[str, Computed] = {}
    for owner, endings in families.items():
        way = next((way for way in _WAYS if set(way) == set(endings)), None)
        if way is None or f"{owner}weight" in tensors:
            continue
        parts, (fits, compute) = tuple(owner + ending for ending in way), _WAYS[way]
        infos = [tensors[part] for part in parts]
        if all(is_floating(one.dtype) or one.dtype == "bool" for one in infos) and fits(*(one.shape for one in infos)):
            found[f"{owner}weight"] = Computed(infos[0], parts, compute)
    return found | _scaled(tensors)


def _scaled(tensors: Mapping[str, TensorInfo]) -> dict[str, Computed]:
    """Find the weights of float8 that have one scale, or one for each output channel, beside them."""
    found = {}
    for key, info in tensors.items():
        scale = scale_beside(key, tensors)
        if scale and is_floating(tensors[scale].dtype) and _is_scale(info.shape, tensors[scale].shape):
            found[key] = Computed(TensorInfo(info.shape, "float32"), (key, scale), _times)
    return found


def scale_beside(key: str, tensors: Mapping[str, TensorInfo]) -> str:
    """Return the key of the scale that a weight of float8 has beside it; empty where there is none.

    >>> infos = {"dw.weight": TensorInfo((8, 1, 3, 3), "float8_e5m2"), "dw.weight_scale": TensorInfo((), "float32")}
    >>> [scale_beside(key, infos) for key in infos]
    ['dw.weight_scale', '']
    """
    if not (key.endswith("weight") and tensors[key].dtype.startswith("float8")):
        return ""
    scales = (f"{key}_scale", f"{key}_scale_inv", f"{key.removesuffix('weight')}scale_weight")
    return next((scale for scale in scales if scale in tensors), "")


def is_part(key: str) -> bool:
    """Tell whether a tensor is a part of a weight that a module computes.

    >>> is_part("dw.weight_v"), is_part("dw.parametrizations.weight.original"), is_part("dw.weight")
    (True, True, False)
    """
    return bool(_PART.search(key))


def _is_scale(weight: Shape, scale: Shape) -> bool:
    return len(scale) <= len(weight) and scale[:1] in ((), (1,), weight[:1]) and prod(scale[1:]) == 1


def _times(weight: Tensor, scale: Tensor) -> Tensor:
    return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))


def _normalised(direction: Tensor, length: Tensor) -> Tensor:
    """Return a weight whose norms are given, over all axes that these do not have (Salimans and Kingma, 2016)."""
    axes = [axis for axis in range(direction.ndim) if length.ndim == 0 or length.shape[axis] == 1]
    norms: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / norms)


def _of_unit_spectral_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return a weight divided by its spectral norm, which two singular vectors give (Miyato et al., 2018)."""
    axis = _spectral_axis(tuple(weight.shape), len(left), len(right))
    matrix = weight.movedim(axis or 0, 0).flatten(1)
    return weight / torch.dot(left, torch.mv(matrix, right))


def _spectral_axis(shape: Shape, left: int, right: int) -> int | None:
    sides = [axis for axis, side in enumerate(shape) if side == left and side * right == prod(shape)]
    return sides[0] if sides else None


def _are_normalised(direction: Shape, length: Shape) -> bool:
    same = len(direction) > 1 and len(length) in (0, len(direction))
    return same and all(one in (1, side) for one, side in zip(length, direction, strict=False))


def _are_spectral(weight: Shape, left: Shape, right: Shape) -> bool:
    whole = len(weight) > 1 and len(left) == len(right) == 1
    return whole and _spectral_axis(weight, left[0], right[0]) is not None


_NORMALISED = (_are_normalised, _normalised)
_SPECTRAL = (_are_spectral, _of_unit_spectral_norm)
_WAYS: Mapping[tuple[str, ...], tuple[Callable[..., bool], Callable[..., Tensor]]] = {
    ("weight_v", "weight_g"): _NORMALISED,
    ("parametrizations.weight.original1", "parametrizations.weight.original0"): _NORMALISED,
    ("weight_orig", "weight_mask"): (operator.eq, torch.mul),
    ("weight_orig", "weight_u", "weight_v"): _SPECTRAL,
    ("weight_bar", "weight_u", "weight_v"): _SPECTRAL,
    ("parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"): _SPECTRAL,
}
"""By the endings of the names of the parts: what their shapes have to be, and what is computed of them."""
