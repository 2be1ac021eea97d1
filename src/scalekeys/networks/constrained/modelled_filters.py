"""The modelled filters of one layer, or of several together, as a function of the numbers that they are made of."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from scalekeys.networks.constrained.differentiable_profiles import Size
from scalekeys.networks.constrained.learned_scales import ScaleKind, variances_from
from scalekeys.networks.constrained.separable_sums import Tables, fields_of, profiles_of, variances_of

KernelNorm: TypeAlias = Literal["free", "unit"]
NORMS: tuple[KernelNorm, ...] = get_args(KernelNorm)


class Numbers(NamedTuple):
    """What filters are made of; see :class:`scalekeys.networks.constrained.scale_space_kernel.ScaleSpaceKernel`."""

    theta: Float[Tensor, "scales"]
    gap: Float[Tensor, "gaps"]
    coefficients: Float[Tensor, "coefficients"]
    amplitude: Float[Tensor, "filters"]
    offset: Float[Tensor, "filters"]


@dataclass(frozen=True, eq=False)
class Recipe:
    """How filters are made of numbers.

    Parameters
    ----------
    tables : Tables
    size : tuple of int
    scale : {"log", "softplus", "softplus-sigma"}
    norm : {"free", "unit"}
    """

    tables: Tables
    size: Size
    scale: ScaleKind
    norm: KernelNorm

    def filters(self, numbers: Numbers, dtype: torch.dtype) -> Float[Tensor, "filters *sides"]:
        """Return the filters in a type, in which nothing is computed.

        Their gradients are computed beside the graph of the network, which sees one operation without tensors that are
        saved: it may go back several times, and what is computed again in the backward pass sees the same, whether
        filters of other layers are made along with these or not.
        """
        device = numbers.offset.device.type
        exact = numbers.offset.dtype == torch.float64  # which autocast leaves alone
        with nullcontext() if exact else torch.autocast(device, enabled=False):
            if torch.compiler.is_compiling() or not torch.is_grad_enabled():
                return _filters_first(self._fields(numbers), dtype)
            filters: Tensor = _Filters.apply(self, dtype, *numbers)  # type: ignore[no-untyped-call]
            return filters

    def _fields(self, numbers: Numbers) -> Float[Tensor, "*sides filters"]:
        t = variances_of(
            self.tables, self.size, variances_from(self.scale, numbers.theta), variances_from(self.scale, numbers.gap)
        )
        fields = fields_of(self.tables, self.size, profiles_of(self.tables, t), numbers.coefficients)
        taps = tuple(range(len(self.size)))
        if self.norm == "unit":
            norms: Tensor = torch.linalg.vector_norm(fields, dim=taps)
            return fields * (numbers.amplitude / norms)
        return numbers.amplitude * fields + (numbers.offset - numbers.amplitude * fields.mean(taps))


class _Filters(torch.autograd.Function):
    """See :meth:`Recipe.filters`."""

    @staticmethod
    def forward(ctx: Any, recipe: Recipe, dtype: torch.dtype, *numbers: Tensor) -> Tensor:
        """Return the filters, and keep the graph that they come from."""
        own = [number.detach().clone().requires_grad_(number.requires_grad) for number in numbers]
        with torch.enable_grad(), saved_tensors_hooks(torch.Tensor.detach, _same):  # itself, it would keep its own graph
            fields = recipe._fields(Numbers(*own))
        ctx.recipe, ctx.numbers, ctx.versions, ctx.inside = recipe, numbers, versions_of(numbers), (fields, own)
        return _filters_first(fields.detach(), dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through that graph, or where gradients are differentiated again through one of the same numbers."""
        fields, own = ctx.inside
        again = torch.is_grad_enabled()
        if again:
            if versions_of(ctx.numbers) != ctx.versions:
                raise RuntimeError(
                    "gradients of gradients cannot be computed, because numbers that filters are made of were changed in "
                    "place after the forward pass; change them after the backward pass"
                )
            own = ctx.numbers
            fields = ctx.recipe._fields(Numbers(*own))
        outside = gradients[0].movedim(0, -1).to(fields.dtype, memory_format=torch.contiguous_format)
        wanted = [number for number in own if number.requires_grad]
        found = torch.autograd.grad(fields, wanted, outside, retain_graph=True, create_graph=again, allow_unused=True)
        left = iter(found)
        return (None, None, *(next(left) if number.requires_grad else None for number in own))


def versions_of(numbers: Sequence[Tensor]) -> list[int]:
    """Return what changes when one of the numbers changes in place."""
    return [-1 if one.is_inference() else one._version for one in numbers]


def _filters_first(fields: Float[Tensor, "*sides filters"], dtype: torch.dtype) -> Float[Tensor, "filters *sides"]:
    return fields.movedim(-1, 0).to(dtype, memory_format=torch.contiguous_format)


def _same(value: Any) -> Any:
    return value
