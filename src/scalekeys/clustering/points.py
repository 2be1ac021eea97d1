"""Points: the filters of banks as unit vectors in one window, in memory or read anew in each pass."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scalekeys.clustering.spec import ClusterSpec
from scalekeys.clustering.windows import symmetries, unit_rows, window_for
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.choice import matches, no_such_layer
from scalekeys.shapes import ArrayLike, Size, as_float_tensor, axes_text, size_text

BATCH = 2**16
"""Filters at a time where all stay in memory."""


def as_banks(filters: FilterBank | Sequence[FilterBank] | ArrayLike, axes: int = 2) -> tuple[FilterBank, ...]:
    """Return one bank or more, whatever was given; of an array the last `axes` dimensions are the kernel.

    Raises FilterError if it is neither banks nor filters of shape (..., *sides).
    """
    if isinstance(filters, FilterBank):
        return (filters,)
    if isinstance(filters, Tensor | np.ndarray):
        return (FilterBank.from_tensor(as_float_tensor(filters).detach(), axes=axes),)
    if isinstance(filters, list | tuple):
        strange = {type(bank).__name__ for bank in filters if not isinstance(bank, FilterBank)}
        if not strange:
            return tuple(filters)
        found = f"a {type(filters).__name__} of {', '.join(sorted(strange))}"
    else:
        found = type(filters).__name__
    raise FilterError(f"expected a FilterBank, several of them, or an array of shape (..., *sides), got {found}")


@dataclass(frozen=True, eq=False)
class Segment:
    """A layer that is clustered, where its first filter stands among all filters of all banks, and which do not act."""

    model: str
    layer: LayerFilters
    start: int
    negligible: Bool[Tensor, "filters"]


def segments_of(banks: Sequence[FilterBank]) -> tuple[Segment, ...]:
    """List the layers of all banks."""
    segments, start = [], 0
    for bank in banks:
        for layer, rows in bank.parts():
            segments.append(Segment(bank.model, layer, start, bank.negligible[rows]))
            start += len(layer)
    return tuple(segments)


@dataclass(frozen=True, eq=False)
class Points:
    """The usable filters of selected layers as unit vectors."""

    segments: tuple[Segment, ...]
    """The selected layers."""
    window: Size
    spec: ClusterSpec
    notes: tuple[str, ...] = ()
    """What was left out of the selection, in sentences."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def device(self) -> torch.device:
        """Where the computation runs: the device of the first layer."""
        return self.segments[0].layer.kernels.device

    @cached_property
    def positions(self) -> Int[Tensor, "points"]:
        """Where each point stands among all filters of all banks."""
        return self._survey[0]

    @cached_property
    def weights(self) -> Float[Tensor, "points"]:
        """What each point counts; at most 1."""
        norms = self._survey[1]
        return torch.ones_like(norms) if self.spec.weighting == "equal" else (norms / norms.amax()).square()

    @cached_property
    def order(self) -> Int[Tensor, "points"]:
        """The points in an order that depends on what they are, not on where they stand.

        It is the same for filters in another order, of other signs, amplitudes and offsets, and turned or mirrored.
        """
        return self._survey[2].argsort(stable=True)

    @cached_property
    def moves(self) -> Int[Tensor, "transforms taps"]:
        """The symmetries of the window."""
        return symmetries(self.window, self.spec.symmetry).to(self.device)

    def passes(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[slice, Tensor]]:
        """Yield all points, some at a time, with their slice; float32 from memory, if they are kept there."""
        if dtype == torch.float32 and self._kept is not None:
            for start in range(0, len(self), BATCH):
                part = slice(start, min(start + BATCH, len(self)))
                yield part, self._kept[part]
            return
        start = 0
        for _, rows, norms in self._prepared():
            usable = rows[norms > 0].to(dtype)
            yield slice(start, start + len(usable)), usable
            start += len(usable)

    def take(self, which: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen taps"]:
        """Return some points, as float32."""
        if self._kept is not None:
            return self._kept[which]
        ranks = torch.full((len(self),), -1, device=self.device)
        ranks[which] = torch.arange(len(which), device=self.device)
        found = torch.empty(len(which), prod(self.window), device=self.device)
        for part, rows in self.passes():
            mine = ranks[part]
            found[mine[mine >= 0]] = rows[mine >= 0]
        return found

    @cached_property
    def _kept(self) -> Tensor | None:
        if self.spec.batch_size is not None:
            return None
        kept = torch.empty(len(self), prod(self.window), device=self.device)
        start = 0
        for _, rows, norms in self._prepared():
            usable = rows[norms > 0]
            kept[start : start + len(usable)] = usable
            start += len(usable)
        return kept

    @cached_property
    def _survey(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions and centred norms of the usable filters, and a number by which to order them."""
        moves = symmetries(self.window, "dihedral" if len(set(self.window)) == 1 else "none").to(self.device)
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(moves.shape[1], generator=generator, dtype=torch.float64, device="cpu").to(self.device)
        probes = probe[moves]
        positions, norms, scores = [], [], []
        for position, rows, norm in self._prepared():
            usable = norm > 0
            positions.append(position[usable])
            norms.append(norm[usable])
            scores.append((rows[usable] @ probes.T).square().sum(-1))
        return torch.cat(positions), torch.cat(norms), torch.cat(scores)

    def _prepared(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield positions, unit vectors and centred norms in batches, over the borders of layers."""
        batch = self.spec.batch_size or BATCH
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        filled = 0
        for segment in self.segments:
            start = 0
            while start < len(segment.layer):
                chunk = segment.layer.kernels[start : start + batch - filled].detach().to(self.device)
                first = segment.start + start
                rows, norm = unit_rows(chunk, self.window)
                none = segment.negligible[start : start + len(chunk)].to(self.device)
                position = torch.arange(first, first + len(chunk), device=self.device)
                parts.append((position, rows, norm.masked_fill(none, 0.0)))
                start, filled = start + len(chunk), filled + len(chunk)
                if filled == batch:
                    yield _joined(parts)
                    parts, filled = [], 0
        if parts:
            yield _joined(parts)


def _joined(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    if len(parts) == 1:
        return parts[0]
    positions, rows, norms = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return positions, rows, norms


def points_of(banks: Sequence[FilterBank], spec: ClusterSpec) -> Points:
    """Select layers and their common window.

    Raises FilterError if no layer is left, or no usable filter, or fewer of them than keys.

    Kernels with another number of axes are other things, and never of one key. If the spec does not say which number to
    take, it is that of most filters, and the larger one of two that are as frequent.
    """
    named = [segment for segment in segments_of(banks) if len(segment.layer)]
    if not named:
        raise FilterError("there are no filters to cluster")
    chosen = [segment for segment in named if matches(segment.layer.name, spec.layers)]
    if not chosen:
        raise FilterError(no_such_layer(spec.layers, [segment.layer.name for segment in named]))
    chosen, notes = _with_as_many_axes(chosen, spec)
    window = window_for(tuple(dict.fromkeys(segment.layer.size for segment in chosen)), spec)
    if not isinstance(spec.sizes, str):
        chosen = [segment for segment in chosen if segment.layer.size == window]
    points = Points(tuple(chosen), window, spec, notes)
    filters = sum(len(segment.layer) for segment in chosen)
    if not len(points):
        negligible = ", negligible" if any(bool(segment.negligible.any()) for segment in chosen) else ""
        raise FilterError(f"none of the {filters} filters can be clustered: all are constant{negligible} or not finite")
    if len(points) < spec.k:
        raise FilterError(f"cannot find {spec.k} keys in {len(points)} usable filters of {filters}; ask for fewer")
    return points


def sample(points: Points, count: int, seed: int) -> Int[Tensor, "chosen"]:
    """Choose points at random, by what they are and not by where they stand."""
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.randperm(len(points), generator=generator, device="cpu")[:count]
    return points.order[ranks.to(points.device)]


def _with_as_many_axes(segments: Sequence[Segment], spec: ClusterSpec) -> tuple[list[Segment], tuple[str, ...]]:
    """Return the layers whose kernels have the axes to take, and notes on the others where nobody asked for them."""
    filters: Counter[int] = Counter()
    for segment in segments:
        filters[segment.layer.axes] += len(segment.layer)
    axes = spec.axes or max(filters, key=lambda number: (filters[number], number))
    if axes not in filters:
        sizes = ", ".join(map(size_text, sorted({segment.layer.size for segment in segments}, reverse=True)))
        raise FilterError(f"no layer has kernels of {axes_text(axes)}; the sizes are {sizes}")
    notes = [
        f"the keys have {axes_text(axes)}, as most filters have; {filters[other]} filters of {axes_text(other)} are "
        f"left out, and axes={other} takes them instead"
        for other in sorted(filters)
        if other != axes and spec.axes is None
    ]
    return [segment for segment in segments if segment.layer.axes == axes], tuple(notes)


def noise_of(banks: Sequence[FilterBank], control: Callable[..., FilterBank], seed: int) -> tuple[FilterBank, ...]:
    """Return noise such as :func:`scalekeys.white_noise_like` gives in the place of banks, other noise for each."""
    return tuple(control(bank, seed=seed + number) for number, bank in enumerate(banks))
