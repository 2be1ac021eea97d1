"""Kernels as sums of outer products of profiles whose scales are parameters: what all of them are computed by."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.networks.constrained.differentiable_profiles import Constants
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.networks.constrained.separable_sums import Tables, profiles_of, tables_of, variances_of

_Numbers = TypeVar("_Numbers", bound=NamedTuple)


class SeparableKernels(nn.Module):
    """Sums of outer products of one profile for each axis, each a function of scales.

    All operators along an axis are computed for all filters, and as many outer products as some filter has: others
    multiply some by zero, but few tensor operations on long rows take less time than many on short ones. Filters come
    last in memory, which makes the rows long.

    `channels`: filters of the layer.
    `scales`: possibly shared with other layers.
    `coefficients`: where they start.
    `learned`: whether the coefficients take gradients.

    The tables are no buffers, which averages of networks would average and data-parallel ones send around.
    """

    def __init__(
        self,
        layout: ParameterLayout,
        channels: int,
        scales: Scales,
        coefficients: Float[Tensor, "coefficients"],
        device: torch.device,
        *,
        learned: bool,
    ) -> None:
        super().__init__()
        self.size = layout.size
        self.scales = scales.to(device, precision(device))
        self.coefficients = parameter(coefficients, device, learned=learned)
        self._tables = kept(tables_of(layout, channels), device)

    def along(self) -> Float[Tensor, "axes slots taps kernels"]:
        """Return the profiles that kernels take along x, y and z, as long as the longest side."""
        return profiles_of(self.here(), self.kernel_variances())

    def kernel_variances(self) -> Float[Tensor, "axes kernels"]:
        """Return the variances of all kernels, below 0 where they are 0."""
        return variances_of(self.here(), self.size, self.scales.variances(), self.scales.gaps())

    @property
    def sigma(self) -> Float[Tensor, "filters axes"]:
        """Present scales (x, y, z) of the modelled filters as standard deviations; of `dog` the smaller.

        NaN along an axis of one tap, where no scale can be seen.
        """
        tables = self.here()
        with torch.no_grad():
            filters = tables.scale.shape[1] + len(tables.two_scales) - len(tables.added)
            t = self.kernel_variances()[:, :filters]
            sigma = t.clamp(tables.constants.minimum, tables.constants.maximum).sqrt()
            return sigma.where(tables.scale[:, :filters] < len(self.scales.theta), torch.nan).T

    def here(self) -> Tables:
        """Return the tables where the parameters are, also in a copy that data parallelism made on another device."""
        device = self.coefficients.device
        return self._tables if self._tables.order.device == device else placed(self._tables, device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SeparableKernels":
        def keeping_the_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(keeping_the_type, recurse)  # type: ignore[no-untyped-call]
        self._tables = kept(self._tables, self.coefficients.device)
        return self


def precision(device: torch.device) -> torch.dtype:
    """Return the most precise type that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def placed(numbers: _Numbers, device: torch.device) -> _Numbers:
    """Bring tables to a device, and what is no index to its most precise type."""

    def here(value: Any) -> Any:
        if isinstance(value, Constants):
            return placed(value, device)
        if not isinstance(value, Tensor):
            return value
        return value.to(device, precision(device) if value.is_floating_point() else value.dtype)

    return type(numbers)(*map(here, numbers))


def kept(numbers: _Numbers, device: torch.device) -> _Numbers:
    """Bring tables to a device for good; leave them where they are if it is "meta", which keeps no numbers."""
    return numbers if device.type == "meta" else placed(numbers, device)


def parameter(values: Tensor, device: torch.device, *, learned: bool) -> nn.Parameter:
    """Make a parameter in the most precise type of a device."""
    return nn.Parameter(values.to(device, precision(device)), requires_grad=learned)
