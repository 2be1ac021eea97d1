"""What training makes of the depthwise filters: how well they are explained, formed, dead, and at which scales."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.filters import FilterBank
from scalekeys.filters.dead import floors, layer_level, negligible_filters
from scalekeys.fitting import Fit, fit, formation
from scalekeys.training.snapshots import Row


def filter_figures(network: nn.Module, *, most: int | None = None) -> Row:
    """Measure the depthwise filters of a network, all together and by layer.

    Parameters
    ----------
    network : nn.Module
        It stays as it is.
    most : int, optional
        Filters of each layer that are fitted, evenly spaced; by default all. Dead filters are counted among all.

    Returns
    -------
    dict of str to float
        ``r2``, the median share of the energy of a filter that the eight families explain; ``formation``, where the
        filters stand beside white noise, from 0 (like noise) to 1; ``dead``, the share of filters that are zero or
        negligible; ``sigma``, the median scale in pixels of the kernel (the geometric mean over the axes of a filter)
        among the filters for which it is finite; ``infinite``, the share of filters with an infinite scale along some
        axis. With a space and the name of a layer behind each name: the same figure of that layer. A figure is left out
        where no filter has it.

    Raises
    ------
    CheckpointError
        If the network has no depthwise layers.

    Examples
    --------
    >>> figures = filter_figures(nn.Conv2d(8, 8, 7, groups=8), most=4)
    >>> [name for name in figures if not name.endswith(" weight")]
    ['r2', 'formation', 'dead', 'sigma', 'infinite']
    """
    bank = extract(network)
    marks = negligible_filters(bank.layers).numpy() | np.concatenate(
        [~layer.kernels.flatten(1).any(1).cpu().numpy() for layer in bank]
    )
    dead = {"dead": marks.mean()} | {f"dead {layer.name}": marks[rows].mean() for layer, rows in bank.parts()}
    found = fit(bank if most is None else _thinned(bank, most))
    groups = formation(found)
    formed = {"formation": groups.network} | {f"formation {group.name}": group for group in groups.layers}
    standings = {name: group.white.value for name, group in formed.items() if group.white is not None}
    shares = found.r2.nan_to_num(0.0).tolist()
    r2 = {"r2": median(shares)} | {f"r2 {layer.name}": median(shares[rows]) for layer, rows in found.bank.parts()}
    scales = {name: value for name, value in _scales(found) if np.isfinite(value)}
    return {name: float(value) for name, value in (r2 | standings | dead | scales).items()}


def _thinned(bank: FilterBank, most: int) -> FilterBank:
    """Take some filters of each layer, which are as dead as they are among all."""
    below = floors([layer_level(layer.kernels) for layer in bank])
    return FilterBank(
        tuple(
            replace(layer, kernels=layer.kernels[:: -(-len(layer) // most)], floor=floor)
            for layer, floor in zip(bank, below, strict=True)
        ),
        bank.model,
    )


def _scales(found: Fit) -> Iterator[tuple[str, float]]:
    """Give the median finite scale and the share of infinite ones, NaN where there is none."""
    scale = found.sigma.log().nanmean(1).exp().cpu().numpy()
    for name, rows in [("", slice(None)), *((f" {layer.name}", rows) for layer, rows in found.bank.parts())]:
        mine = scale[rows][~np.isnan(scale[rows])]
        finite = mine[np.isfinite(mine)]
        yield f"sigma{name}", float(np.median(finite)) if len(finite) else np.nan
        yield f"infinite{name}", float(np.isinf(mine).mean()) if len(mine) else np.nan
