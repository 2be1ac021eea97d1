"""The modelled filters of one layer, or of several together, as a function of the numbers that they are made of."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from scalekeys.errors import ModelError
from scalekeys.networks.constrained.learned_scales import ScaleKind, variances_from
from scalekeys.networks.constrained.separable_sums import Tables, fields_of, profiles_of, variances_of
from scalekeys.shapes import Size

KernelNorm: TypeAlias = Literal["free", "unit"]
NORMS: tuple[KernelNorm, ...] = get_args(KernelNorm)


class Numbers(NamedTuple):
    """What filters are made of; see :class:`scalekeys.networks.constrained.scale_space_kernel.ScaleSpaceKernel`."""

    theta: Float[Tensor, "scales"]
    gap: Float[Tensor, "gaps"] | None
    coefficients: Float[Tensor, "coefficients"]
    amplitude: Float[Tensor, "filters"]
    offset: Float[Tensor, "filters"]


@dataclass(frozen=True, eq=False)
class Recipe:
    """How filters are made of numbers."""

    tables: Tables
    size: Size
    scale: ScaleKind
    norm: KernelNorm

    def filters(self, numbers: Sequence[Numbers], dtype: torch.dtype) -> tuple[Float[Tensor, "_ *sides"], ...]:
        """Return the filters of each layer in a type, in which nothing is computed.

        Their gradients are computed beside the graph of the network, which sees one operation without tensors that are
        saved: it may go back several times, and what is computed again in the backward pass sees the same, whether
        filters of other layers are made along with these or not. The numbers of a layer that a pass left out get no
        gradients.

        Raises ModelError while a CUDA graph is captured.
        """
        if not torch.compiler.is_compiling():
            _check_capture()
        device = numbers[0].offset.device.type
        exact = numbers[0].offset.dtype == torch.float64  # which autocast leaves alone
        with nullcontext() if exact else torch.autocast(device, enabled=False):
            if torch.compiler.is_compiling() or not torch.is_grad_enabled():
                return _of_layers(self._fields(_joined(numbers)), numbers, dtype)
            filters: tuple[Tensor, ...] = _Filters.apply(self, dtype, *chain(*numbers))  # type: ignore[no-untyped-call]
            return filters

    def _fields(self, numbers: Numbers) -> Float[Tensor, "*sides filters"]:
        known = variances_from(self.scale, numbers.theta)
        gaps = known[:0] if numbers.gap is None else variances_from(self.scale, numbers.gap)
        along = profiles_of(self.tables, variances_of(self.tables, self.size, known, gaps))
        taps = tuple(range(len(self.size)))
        if self.norm == "unit":
            fields = fields_of(self.tables, self.size, along, numbers.coefficients)
            norms: Tensor = torch.linalg.vector_norm(fields, dim=taps)
            return fields * (numbers.amplitude / norms)
        strengths = numbers.coefficients * numbers.amplitude.index_select(0, self.tables.owner)
        fields = fields_of(self.tables, self.size, along, strengths)
        return fields + (numbers.offset - fields.sum(taps) / prod(self.size))


class _Filters(torch.autograd.Function):
    """See :meth:`Recipe.filters`."""

    @staticmethod
    def forward(ctx: Any, recipe: Recipe, dtype: torch.dtype, *numbers: Any) -> tuple[Tensor, ...]:
        """Return the filters, and keep the graph that they come from."""
        kinds = len(Numbers._fields)
        layers = [Numbers(*numbers[start : start + kinds]) for start in range(0, len(numbers), kinds)]
        own = _joined(layers)
        for one, parts in zip(own, zip(*layers, strict=True), strict=True):
            if one is not None:
                one.requires_grad_(any(part is not None and part.requires_grad for part in parts))
        # A graph that saves one of its own results as it is would keep itself alive.
        with torch.enable_grad(), saved_tensors_hooks(torch.Tensor.detach, lambda value: value):
            fields = recipe._fields(own)
        ctx.recipe, ctx.layers, ctx.versions, ctx.inside = recipe, layers, versions_of(numbers), (fields, own)
        ctx.set_materialize_grads(False)
        return _of_layers(fields.detach(), layers, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Go back through that graph, or where gradients are differentiated again through one of the same numbers."""
        fields, own = ctx.inside
        again = torch.is_grad_enabled()
        if again:
            if versions_of(chain(*ctx.layers)) != ctx.versions:
                raise RuntimeError(
                    "gradients of gradients cannot be computed, because numbers that filters are made of were changed "
                    "in place after the forward pass; change them after the backward pass"
                )
            own = _joined(ctx.layers)
            fields = ctx.recipe._fields(own)
        outside = torch.cat(
            [
                fields.new_zeros(len(layer.offset), *fields.shape[:-1]) if one is None else one
                for layer, one in zip(ctx.layers, gradients, strict=True)
            ]
        )
        outside = outside.movedim(0, -1).to(fields, memory_format=torch.contiguous_format)
        wanted = [number for number in own if number is not None and number.requires_grad]
        found = torch.autograd.grad(fields, wanted, outside, retain_graph=True, create_graph=again, allow_unused=True)
        return None, None, *_of_numbers(iter(found), own, ctx.layers, gradients)


def _check_capture() -> None:
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise ModelError(
            "a constrained network cannot be captured in a CUDA graph, which would not see when its filters are to be "
            "computed again; capture sk.bake(network), or run the network without a graph"
        )


def _joined(layers: Sequence[Numbers]) -> Numbers:
    theta, gap, *others = zip(*layers, strict=True)
    gaps = [one for one in gap if one is not None]
    return Numbers(torch.cat(theta), torch.cat(gaps) if gaps else None, *map(torch.cat, others))


def _of_layers(
    fields: Float[Tensor, "*sides filters"], layers: Sequence[Numbers], dtype: torch.dtype
) -> tuple[Float[Tensor, "_ *sides"], ...]:
    """Return the filters of each layer, filters first in memory."""
    filters = fields.movedim(-1, 0).to(dtype, memory_format=torch.contiguous_format)
    parts: tuple[Tensor, ...] = filters.split([len(layer.offset) for layer in layers])
    return parts


def _of_numbers(
    found: Iterator[Tensor | None], own: Numbers, layers: Sequence[Numbers], used: Sequence[Tensor | None]
) -> Iterator[Tensor | None]:
    """Yield the gradients of the numbers of each layer; None for what needs none, and for layers that were not used."""
    kinds = []
    for one, parts in zip(own, zip(*layers, strict=True), strict=True):
        gradient = next(found) if one is not None and one.requires_grad else None
        counts = [0 if part is None else len(part) for part in parts]
        kinds.append([None] * len(layers) if gradient is None else gradient.split(counts))
    for layer, mine, gradient in zip(layers, zip(*kinds, strict=True), used, strict=True):
        for number, its in zip(layer, mine, strict=True):
            yield None if number is None or not number.requires_grad or gradient is None else its


def versions_of(numbers: Iterable[Tensor | None]) -> list[int]:
    """Return what changes when one of the numbers changes in place."""
    return [-1 if one is None or one.is_inference() else one._version for one in numbers]
