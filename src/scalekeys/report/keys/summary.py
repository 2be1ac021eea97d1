"""The figures of a clustering that the terminal, the page and ``--json`` share, computed once."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from scalekeys.filters import LeftOut
from scalekeys.report.keys.elimination import EliminationSummary
from scalekeys.report.page.numbers import Scales, without_infinities
from scalekeys.report.page.words import distinct_parts


@dataclass(frozen=True)
class KeySummary:
    """One key: its members, its model in scale space, and the published filter it was matched with.

    Parameters
    ----------
    key : int
        Its number, from 0, as in the tables.
    members : int
    share : float
        Of the filters that have a key.
    median_correlation : float or None
        Of the members with the key, without signs.
    family, sigma, r2, status
        The model that won, as in a fit, with its scales by the names of their axes; None where there is none.
    published : int or None
        Number of the published filter, from 1; None where the eight went to other keys.
    published_family : str or None
    published_correlation : float or None
        Without its sign.
    """

    key: int
    members: int
    share: float
    median_correlation: float | None
    family: str | None
    sigma: Scales
    r2: float | None
    status: str
    published: int | None
    published_family: str | None
    published_correlation: float | None

    @property
    def model(self) -> str | None:
        """The family, unless noise has as much evidence for it."""
        return None if self.status == "unexplained" else self.family

    @property
    def label(self) -> str:
        """Its name, with the family that models it if one does."""
        return f"key {self.key} {self.model}" if self.model else f"key {self.key}"


@dataclass(frozen=True)
class LayerKeys:
    """One layer: how many of its filters belong to each key, and the share of them that are close to theirs.

    ``bank`` is the position of its network among the sources, since two networks may bear the same name.
    """

    bank: int
    model: str
    layer: str
    depth: int
    size: str
    filters: int
    coverage: float
    members: tuple[int, ...]

    def share_of(self, key: int) -> float:
        """Return the share of a key among the filters."""
        return self.members[key] / self.filters

    @property
    def main_key(self) -> int:
        """The most frequent key."""
        return max(range(len(self.members)), key=lambda key: self.members[key])


@dataclass(frozen=True)
class CurvePoint:
    """What one number of keys reaches, and what as many reach in white and in matched noise."""

    k: int
    explained: float
    white_noise: float
    matched_noise: float
    gap: float
    stability_restarts: float | None
    stability_halves: float | None


@dataclass(frozen=True)
class HeldOutGroup:
    """One group of networks: the share of energy that as many keys of each kind explain of it.

    The shares are those of :class:`scalekeys.clustering.HeldOut`; ``published`` is None for other than two axes.
    """

    group: str
    networks: int
    filters: int
    own: float
    held_out: float
    published: float | None
    matched_noise: float
    white_noise: float
    random: float


@dataclass(frozen=True)
class HeldOutSummary:
    """What ``k`` keys of all other groups explain of each group, where ``column`` tells the groups."""

    column: str
    k: int
    groups: tuple[HeldOutGroup, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeysSummary:
    """What a search for keys found, in figures.

    ``white_noise`` and ``matched_noise`` are what as many keys explain of noise. ``left_out`` counts the filters
    without a key, ``not_read`` lists what the sources hold that looks like a kernel.
    ``curve`` is empty, and ``best_k`` and ``reason`` are None, where the number of keys was not studied.
    ``elimination`` is None where the keys are those of the search. Keys that an elimination leaves explain less than
    the search finds; the noise beside them is searched. ``held_out`` is None where no group of networks was held out.
    """

    models: tuple[str, ...]
    size: str
    weighting: str
    symmetry: str
    filters: int
    left_out: int
    negligible: int
    explained: float
    white_noise: float
    matched_noise: float
    threshold: float
    coverage: float
    keys: tuple[KeySummary, ...]
    layers: tuple[LayerKeys, ...]
    curve: tuple[CurvePoint, ...]
    best_k: int | None
    reason: str | None
    notes: tuple[str, ...]
    not_read: tuple[LeftOut, ...] = ()
    elimination: EliminationSummary | None = None
    held_out: HeldOutSummary | None = None

    @property
    def clustered(self) -> int:
        """How many filters have a key."""
        return self.filters - self.left_out

    @property
    def sizes(self) -> tuple[str, ...]:
        """The kernel sizes of the layers that have keys, as they come."""
        return tuple(dict.fromkeys(layer.size for layer in self.layers))

    @cached_property
    def short_names(self) -> dict[tuple[int, str], str]:
        """Names of layers without what all layers of their network share, by the position of the network and name."""
        names: dict[int, list[str]] = {}
        for layer in self.layers:
            names.setdefault(layer.bank, []).append(layer.layer)
        return {
            (bank, name): short
            for bank, mine in names.items()
            for name, short in zip(mine, distinct_parts(mine), strict=True)
        }

    def published(self, least: float) -> list[KeySummary]:
        """Return the keys whose correlation with their published filter is at least `least`, in its order."""
        matched = [key for key in self.keys if (key.published_correlation or 0) >= least]
        return sorted(matched, key=lambda key: key.published or 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON, which has no infinity: it is the word ``inf``."""
        plain: dict[str, Any] = without_infinities(asdict(self))
        return plain
