"""From an opened checkpoint to rows of the atlas, a bounded number of filters at a time, beside both controls."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from scalekeys.atlas.identity import ContentHash
from scalekeys.atlas.schema import FILTERS
from scalekeys.atlas.shape_columns import shape_columns
from scalekeys.checkpoints import Checkpoint
from scalekeys.errors import CheckpointError, FilterError, ModelError
from scalekeys.filters import FilterBank, LayerFilters, matched_noise_like, white_noise_like
from scalekeys.filters.dead import floors, layer_level
from scalekeys.fitting import Fit, fit, orientation
from scalekeys.fitting.table import number_column, word_column
from scalekeys.version import __version__

AT_ONCE = 16_384
"""Filters that are fitted together, if they are of one layer or of layers that follow each other."""


@dataclass(frozen=True, eq=False)
class _Part:
    """Consecutive filters of one layer, beside white and matched noise."""

    filters: LayerFilters
    white: LayerFilters
    matched: LayerFilters
    start: int  # of their channels


def identify(checkpoint: Checkpoint) -> tuple[str, int, int]:
    """Return the content hash of a checkpoint, and the numbers of its layers and filters.

    Raises CheckpointError if it has no depthwise layers, or they cannot be read.
    """
    content, layers, filters = ContentHash(), 0, 0
    for layer in checkpoint.stream():
        content.add(layer)
        layers, filters = layers + 1, filters + len(layer)
        del layer  # before the next one is read
    return content.hexdigest(), layers, filters


def rows(checkpoint: Checkpoint, *, source: str, content: str, seed: int = 0) -> Iterator[pa.Table]:
    """Fit the filters of a checkpoint and both their controls, and yield one row a filter, in their order.

    `source`: what it is called in the atlas.
    `content`: what :func:`identify` gave.
    `seed`: of the noise, which is that of :func:`scalekeys.white_noise_like` and of
    :func:`scalekeys.matched_noise_like`.
    Yields tables of the form :data:`scalekeys.atlas.schema.FILTERS`.
    Raises CheckpointError if the filters cannot be read, or are not those of the content hash; then all rows are void.
    """
    again = ContentHash()
    for parts in _batches(_beside_noise(_with_floors(checkpoint), again, seed)):
        bank = FilterBank(tuple(part.filters for part in parts), model=checkpoint.model)
        fitted = fit(bank)
        table = fitted.to_arrow()
        columns = dict(zip(table.column_names, table.columns, strict=True)) | _measured(fitted)
        columns["kind"] = word_column([layer.kind for layer in bank], bank.layer_of)
        for name in ("white", "matched"):
            noise = bank.with_filters([getattr(part, name).kernels for part in parts])
            columns |= {f"{column}_{name}": values for column, values in _measured(fit(noise)).items()}
        columns["r2_jet2"] = _jet2(bank)
        columns["channel"] = pa.array(np.concatenate([part.start + np.arange(len(part.filters)) for part in parts]))
        for name, word in (("source", source), ("content_hash", content), ("software_version", __version__)):
            columns[name] = pa.repeat(word, len(bank))
        empty = pa.nulls(len(bank))
        yield pa.table({name: columns.get(name, empty) for name in FILTERS.names}).cast(FILTERS)
    if again.hexdigest() != content:
        raise CheckpointError(f"{source}: has changed while it was read; run again when it is written")


def _with_floors(checkpoint: Checkpoint) -> Iterator[LayerFilters]:
    """Yield layers that know from the whole network below which norm a filter is negligible."""
    levels = []
    for layer in checkpoint.stream():
        levels.append(layer_level(layer.kernels))
        del layer  # before the next one is read
    for layer, floor in zip(checkpoint.stream(), floors(levels), strict=True):
        yield replace(layer, floor=floor)


def _beside_noise(layers: Iterable[LayerFilters], content: ContentHash, seed: int) -> Iterator[_Part]:
    """Yield layers, in parts where they are large, with both kinds of noise; the noise of a bank as a whole."""
    for_white, for_matched = (torch.Generator().manual_seed(seed) for _ in range(2))
    for layer in layers:
        content.add(layer)
        alone = FilterBank((layer,))
        (white,) = white_noise_like(alone, seed=for_white).layers
        (matched,) = matched_noise_like(alone, seed=for_matched).layers
        for start in range(0, len(layer), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            one, two, three = (replace(each, kernels=each.kernels[part]) for each in (layer, white, matched))
            yield _Part(one, two, three, start)


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Group parts that follow each other, up to a number of filters."""
    batch: list[_Part] = []
    for part in parts:
        if batch and sum(len(one.filters) for one in [*batch, part]) > AT_ONCE:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def _jet2(bank: FilterBank) -> pa.Array:
    """Return the r2 of the 2-jet; null where no kernel has two axes to differentiate along."""
    try:
        return number_column(fit(bank, "jet2").r2)
    except ModelError:
        return pa.nulls(len(bank), pa.float64())


def _measured(fitted: Fit) -> dict[str, pa.Array]:
    """Return what is measured alike of filters and of both controls, more of it than the table has room for."""
    family = word_column(list(fitted.spec.labels), fitted.values.family.cpu().numpy())
    sigma = fitted.sigma.log().nanmean(-1).exp()
    columns = {"family": family, "r2": number_column(fitted.r2), "sigma": number_column(sigma)}
    return columns | _angles(fitted) | shape_columns(fitted.bank)


def _angles(fitted: Fit) -> dict[str, pa.Array]:
    """Return what templates along the axes and along any angle explain; nothing where no kernel has two axes."""
    try:
        found = orientation(fitted.bank)
    except FilterError:
        return {}
    columns = {"r2_aligned": found.aligned, "r2_oriented": found.free, "angle_oriented": found.angle}
    return {name: number_column(values) for name, values in (columns | {"gain": found.gain_beyond(fitted.r2)}).items()}
