"""Whether keys are universal: what keys found in some networks explain of others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.clustering.network_sample import NetworkSample, equal_shares
from scalekeys.clustering.points import noise_of
from scalekeys.clustering.published import published_rows
from scalekeys.clustering.spec import ClusterSpec, Sizes, Symmetry, parse_spec
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.shapes import Size
from scalekeys.threads import one_thread

if TYPE_CHECKING:
    import pandas as pd

NOISE_DRAWS, RANDOM_DRAWS = 3, 20
"""Draws of each noise, and sets of random filters, whose shares are averaged."""

SHARES = ("own", "held_out", "published", "matched_noise", "white_noise", "random")
"""The columns of :class:`HeldOut` that hold shares of energy."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What keys of other groups explain of the networks of each group.

    Parameters
    ----------
    networks : DataFrame
        One row a network: `network`, `group`, `series`, `filters`, `part` (what the network counts in its group), and
        the share of energy that as many keys explain of its filters (:data:`SHARES`): `own` keys of its group (found
        on filters that include the network's own, so that the share is a ceiling), `held_out` keys of all other groups,
        the eight `published` keys (NaN for other than two axes), keys found in `matched_noise` and in `white_noise` in
        the place of the other groups (means over three draws), and filters of the other groups drawn at `random` (over
        twenty).
    k : int
    window : tuple of int
    notes : tuple of str
        Which groups and networks are left out, and why.
    """

    networks: "pd.DataFrame"
    k: int
    window: Size
    notes: tuple[str, ...] = ()

    @cached_property
    def groups(self) -> "pd.DataFrame":
        """One row a group: `group`, `networks`, `filters`, and the shares, each the mean over the group's networks."""
        frame = self.networks
        weighted = frame[list(SHARES)].mul(frame.part, axis=0).groupby(frame.group, sort=False)
        shares = weighted.sum(min_count=1)
        counted = frame.groupby("group", sort=False).agg(networks=("network", "size"), filters=("filters", "sum"))
        return counted.join(shares).reset_index()


@one_thread()
def held_out_cover(
    banks: Sequence[FilterBank],
    groups: Sequence[str],
    k: int = 8,
    *,
    series: Sequence[str] | None = None,
    seed: int = 0,
    restarts: int = 10,
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    axes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> HeldOut:
    """Find keys in all groups of networks but one, and measure what they explain of the one left out; for each group.

    Parameters
    ----------
    banks : sequence of FilterBank
        The filters of the networks, one bank each.
    groups : sequence of str
        The group of each network, such as its task.
    k : int
        Number of keys.
    series : sequence of str, optional
        Networks of one group and one series, such as sizes of one architecture, count as one network together.
    seed, restarts, symmetry, sizes, layers, axes
        As for :func:`scalekeys.cluster`.
    progress : callable, optional
        Called with 1 after each group.

    Returns
    -------
    HeldOut

    Raises
    ------
    ModelError
        If an option is unknown, or there is not one group for each network.
    FilterError
        If fewer than two groups have `k` filters.

    Notes
    -----
    All groups count alike, all series in a group, all networks in a series and all filters in a network. At most
    8,192 filters are looked at, and at most as many of one network as of each other one that has so many.

    Keys of matched noise share with those found all that smoothness and width of the other groups' filters explain.
    Where the found keys explain no more of a group than the keys of matched noise do, a common smoothness explains
    the agreement of the groups as well as common keys would.

    References
    ----------
    Babaiee, Kiasari, Rus, Grosu, arXiv:2509.11711, 2025, who propose that few "master key" filters are shared by
    depthwise networks of different tasks and architectures.

    Examples
    --------
    >>> import torch
    >>> import scalekeys as sk
    >>> noise = torch.randn(3, 400, 7, 7, generator=torch.Generator().manual_seed(0))
    >>> banks = [sk.FilterBank.from_tensor(sk.master_keys().repeat(50, 1, 1) + 0.05 * each) for each in noise]
    >>> found = held_out_cover(banks, ["day", "night", "night"], restarts=3)
    >>> found.groups[["group", "networks", "own", "held_out", "published"]].round(1)
       group  networks  own  held_out  published
    0    day         1  0.9       0.9        0.9
    1  night         2  0.9       0.9        0.9
    """
    if not len(banks) == len(groups) == len(groups if series is None else series):
        raise ModelError(f"there must be one group, and one series, for each of the {len(banks)} networks")
    spec = parse_spec(k, seed=seed, restarts=restarts, symmetry=symmetry, sizes=sizes, layers=layers, axes=axes)
    everything = NetworkSample.of(tuple(banks), spec)
    kept, notes = _usable(everything, groups, k)
    labels = [(groups[i], groups[i] if series is None else series[i]) for i in range(len(banks)) if i in kept]
    usable = tuple(banks[i] for i in kept)
    sample = everything if len(kept) == len(banks) else NetworkSample.of(usable, spec)
    noises = {
        f"{name}_noise": [
            NetworkSample.of(noise_of(usable, control, seed + len(banks) * draw), spec) for draw in range(NOISE_DRAWS)
        ]
        for name, control in (("matched", matched_noise_like), ("white", white_noise_like))
    }
    parts = {}
    for group in dict.fromkeys(group for group, _ in labels):
        parts[group] = _explained(sample, noises, labels, group, spec)
        if progress is not None:
            progress(1)
    return HeldOut(_frame(usable, sample, labels, parts), k, sample.window, notes)


def _usable(sample: NetworkSample, groups: Sequence[str], k: int) -> tuple[list[int], tuple[str, ...]]:
    """Return the networks of groups with enough filters, and say which others are left out."""
    counts: list[int] = sample.counts.tolist()
    notes = []
    if 0 in counts:
        notes.append(f"networks without filters to compare are left out: {counts.count(0)} of {len(counts)}")
    filters = dict.fromkeys(groups, 0)
    for group, count in zip(groups, counts, strict=True):
        filters[group] += count
    few = [group for group, count in filters.items() if 0 < count < k]
    if few:
        notes.append(f"groups with fewer than {k} filters are left out: {', '.join(few)}")
    enough = [group for group, count in filters.items() if count >= k]
    if len(enough) < 2:
        raise FilterError(
            f"to hold a group of networks out needs two groups with at least {k} filters of the kernel size asked for, "
            f"got {len(enough)}"
        )
    return [i for i, group in enumerate(groups) if group in enough and counts[i]], tuple(notes)


def _explained(
    sample: NetworkSample,
    noises: dict[str, list[NetworkSample]],
    labels: Sequence[tuple[str, str]],
    group: str,
    spec: ClusterSpec,
) -> dict[str, Float[Tensor, "networks"]]:
    """Return what keys of each kind explain of each network, for the networks of one group."""
    mine = torch.tensor([each == group for each, _ in labels])
    own, others = equal_shares(labels, mine), equal_shares(labels, ~mine)
    keys = {
        "own": [sample.keys(own, spec)],
        "held_out": [sample.keys(others, spec)],
        **{name: [noise.keys(others, spec) for noise in draws] for name, draws in noises.items()},
        "random": [sample.drawn(others, spec.k, draw) for draw in range(RANDOM_DRAWS)],
    }
    explained = {name: torch.stack([*map(sample.explained, sets)]).mean(0) for name, sets in keys.items()}
    explained["published"] = (
        sample.explained(published_rows(sample.window).to(sample.rows))
        if len(sample.window) == 2
        else torch.full((len(labels),), torch.nan, dtype=torch.float64)
    )
    return explained | {"part": own}


def _frame(
    banks: Sequence[FilterBank],
    sample: NetworkSample,
    labels: Sequence[tuple[str, str]],
    parts: dict[str, dict[str, Tensor]],
) -> "pd.DataFrame":
    """Put together one row a network, in the order of the groups."""
    import pandas as pd

    names = ("part", *SHARES)
    rows = [
        {"network": banks[i].model, "group": group, "series": one, "filters": int(sample.counts[i])}
        | {name: float(parts[group][name][i]) for name in names}
        for i, (group, one) in enumerate(labels)
    ]
    frame = pd.DataFrame(rows)
    order = np.argsort([list(parts).index(group) for group in frame.group], kind="stable")
    return frame.iloc[order].reset_index(drop=True)
