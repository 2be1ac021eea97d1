"""Whether receptive fields are aligned with the axes: what templates along any angle explain beyond aligned ones."""

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank
from scalekeys.fitting.prepare import prepare
from scalekeys.fitting.templates.grid import bend_of, widest
from scalekeys.scalespace import ORIENTED, families, template_plan
from scalekeys.shapes import Size
from scalekeys.threads import in_threads

_SCALES, _ECCENTRICITIES, _ANGLES = 9, 7, 24
_AT_ONCE = 2_048


@dataclass(frozen=True, eq=False)
class Orientation:
    """What oriented templates explain of each filter of a bank; NaN where there is nothing to explain.

    Parameters
    ----------
    aligned : Tensor, shape (filters,)
        Share of the centred energy that the best template along an axis explains.
    free : Tensor, shape (filters,)
        The same for the best template along any angle, of the same scales and eccentricities.
    angle : Tensor, shape (filters,)
        The angle of that template, in radians from 0 to pi, counter-clockwise from the x axis.
    """

    aligned: Float[Tensor, "filters"]
    free: Float[Tensor, "filters"]
    angle: Float[Tensor, "filters"]

    @property
    def gain(self) -> Float[Tensor, "filters"]:
        """By how much the share explained grows when the angle is free; at least 0."""
        return self.free - self.aligned

    def gain_beyond(self, r2: Float[Tensor, "filters"]) -> Float[Tensor, "filters"]:
        """By how much the free angle explains more than the best aligned template and than a fit.

        Parameters
        ----------
        r2 : Tensor, shape (filters,)
            What the fit explains of each filter, as of idealized families.

        Returns
        -------
        Tensor, shape (filters,)
            Negative where the fit explains more; NaN where there is no angle, or no fit.
        """
        return self.free - torch.maximum(self.aligned, r2.to(self.aligned))


def orientation(bank: FilterBank) -> Orientation:
    """Measure what smoothing and its first and second derivative explain along the axes, and along any angle.

    Parameters
    ----------
    bank : FilterBank
        Filters of two axes count; those of other numbers of axes are NaN.

    Returns
    -------
    Orientation

    Raises
    ------
    FilterError
        If no filter has two axes.

    Notes
    -----
    Templates are those of :data:`scalekeys.scalespace.ORIENTED` on a grid of 9 scales, 7 eccentricities (from round to
    the bound at which the kernel stays positive, along the angle and across it) and 24 angles, 7.5 degrees apart. The
    aligned ones are those of 0 and 90 degrees on the same grid, so that both shares miss the optimum between nodes
    alike. A gain means something beside that of matched noise only: the more templates, the more is explained of
    anything.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, find that the filters are close to separable, along the axes.

    Examples
    --------
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> bool((orientation(keys).gain_beyond(sk.fit(keys).r2) < 0.05).all())
    True
    """
    if not any(layer.axes == 2 for layer in bank):
        raise FilterError(f"{bank.model}: no filter has two axes, so that there is no angle")
    columns = torch.full((3, len(bank)), torch.nan, dtype=torch.float64)
    for size in (size for size in bank.sizes if len(size) == 2 and min(size) > 2):
        stack, positions = bank.of_size(size)
        chunks = list(zip(stack.split(_AT_ONCE), positions.split(_AT_ONCE), strict=True))
        found = in_threads(_of_stack, [filters for filters, _ in chunks])
        for (_, mine), values in zip(chunks, found, strict=True):
            columns[:, mine] = values
    columns[:, bank.negligible] = torch.nan
    return Orientation(*columns)


def _of_stack(filters: Tensor) -> Tensor:
    """Aligned and free shares and angles, shape (3, filters)."""
    prepared = prepare(filters.cpu())
    shares = (prepared.targets.rough @ _atoms(prepared.targets.size)).square()
    by_angle = shares.unflatten(-1, (_ANGLES, -1)).amax(-1)
    aligned = by_angle[:, [0, _ANGLES // 2]].amax(-1)
    free, angle = by_angle.max(-1)
    found = torch.stack([aligned.double(), free.double(), angle.double() * pi / _ANGLES])
    return torch.where(prepared.status == 0, found, torch.nan)


@lru_cache(maxsize=16)
def _atoms(size: Size) -> Tensor:
    """Centred templates of norm 1, angle by angle: shape (taps, angles * templates), float32."""
    bend, end = bend_of(size), widest(size)
    scales = torch.linspace(0, end / (bend + end), _SCALES + 1, dtype=torch.float64)[1:]
    eccentricities = torch.linspace(-1, 1, _ECCENTRICITIES, dtype=torch.float64)
    angles = torch.arange(_ANGLES, dtype=torch.float64) * pi / _ANGLES
    points = torch.cartesian_prod(angles, scales, eccentricities)[:, [1, 2, 0]]
    parts = []
    for name in ORIENTED:
        own = families(2)[name].parametrization
        fields = template_plan(name, size)(own.parameters(points.T, bend).T)[:, 0].flatten(1)
        fields = fields - fields.mean(-1, keepdim=True)
        norms = torch.linalg.vector_norm(fields, dim=-1, keepdim=True)
        parts.append(torch.where(norms > 1e-9, fields / norms, 0.0).unflatten(0, (_ANGLES, -1)))
    atoms: Tensor = torch.cat(parts, dim=1).flatten(0, 1).T.float().contiguous()
    return atoms
