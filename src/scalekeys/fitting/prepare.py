"""Filters made ready for a fit: a status for those that have none, and units in which their centred norm is 1."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.shapes import FilterStack

STATUSES: tuple[str, ...] = (
    "ok",
    "at-bound",
    "polynomial",
    "zero-filter",
    "negligible",
    "constant-filter",
    "non-finite",
    "unsupported-size",
    "unexplained",
)
"""The words of the column `status`; only the first three and the last carry a fit.

`polynomial`: a scale is infinite, so that the receptive field inside the window is a polynomial along that axis.
"""

DEAD: tuple[str, ...] = ("zero-filter", "negligible")
"""The statuses of filters that nothing comes of."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Filters of one size in units of their centred norm, and what several families need of them."""

    taps: Float[Tensor, "filters taps"]
    size: tuple[int, ...]
    """Sides of the kernel, in the order of its axes in an array."""
    metric: Float[Tensor, "filters taps taps"] | None = None
    """The covariance of the patches that each filter sees."""

    def __len__(self) -> int:
        return len(self.taps)

    @property
    def filters(self) -> FilterStack:
        """The filters with their axes."""
        return self.taps.reshape(-1, *self.size)

    @cached_property
    def means(self) -> Float[Tensor, "filters"]:
        """The mean of each filter."""
        return self.taps.mean(-1)

    @cached_property
    def centred(self) -> Float[Tensor, "filters taps"]:
        """Filters less their means."""
        return self.taps - self.means[:, None]

    @cached_property
    def rough(self) -> Float[Tensor, "filters taps"]:
        """The centred filters in single precision."""
        return self.centred.float()

    def select(self, rows: Tensor) -> "Targets":
        """Return some of the filters; the same ones where the rows are all of them."""
        if len(rows) == len(self):
            return self
        return replace(self, taps=self.taps[rows], metric=None if self.metric is None else self.metric[rows])


@dataclass(frozen=True, eq=False)
class Prepared:
    """A stack of filters before the fit."""

    targets: Targets
    """Zero where a filter is not finite."""
    status: Int[Tensor, "filters"]
    """Index into :data:`STATUSES`."""
    norm: Float[Tensor, "filters"]
    """The centred norm."""


def prepare(filters: FilterStack, metric: Tensor | None = None) -> Prepared:
    """Return statuses, units and filters in these units, with the metric of each."""
    scaled, exponent = in_powers_of_two(filters, axes=filters.ndim - 1)
    shape = scaled.flatten(1)
    largest = shape.abs().amax(-1)
    finite = largest.isfinite()
    if not bool(finite.all()):
        shape = torch.where(finite[:, None], shape, 0.0)
    means = shape.mean(-1)
    norm = torch.linalg.vector_norm(shape - means[:, None], dim=-1)
    status = torch.zeros_like(norm, dtype=torch.long)
    # The square of the norm of a filter is that of its centred part and that of its mean.
    whole = (norm.square() + shape.shape[-1] * means.square()).sqrt()
    constant = norm <= 8 * torch.finfo(torch.float32).eps * whole
    status = torch.where(constant, STATUSES.index("constant-filter"), status)
    status = torch.where(finite & (largest == 0), STATUSES.index("zero-filter"), status)
    status = torch.where(finite, status, STATUSES.index("non-finite"))
    unit = shape / torch.where(norm > 0, norm, 1.0)[:, None]
    return Prepared(Targets(unit, tuple(filters.shape[1:]), metric), status, norm * power_of_two(exponent))
