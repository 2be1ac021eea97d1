"""Keys: what is known after clustering, for each key and for each filter."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scalekeys.clustering.lines import Assignment
from scalekeys.clustering.points import Points, segments_of
from scalekeys.clustering.published import likeness
from scalekeys.clustering.spec import ClusterSpec
from scalekeys.errors import FilterError
from scalekeys.filters import MASTER_KEY_FAMILIES, FilterBank
from scalekeys.fitting import Fit, fit
from scalekeys.shapes import Size, size_text

if TYPE_CHECKING:
    import pandas as pd

COVERED = 0.8
"""Correlation from which a filter counts as covered by its key."""


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of some filters.

    Parameters
    ----------
    banks : tuple of FilterBank
        What was clustered.
    spec : ClusterSpec
        How.
    filters : Tensor, shape (k, *sides), float64
        The keys: centred, of unit norm, in order of their members (of the members' weight). The sign, and with
        symmetry the frame, is the one that is most like one of the published keys; for other than two axes, most like a
        smoothing or a first derivative.
    assignment : Tensor of int64, shape (filters,)
        The key of each filter, in the order of the banks; -1 where a filter is constant, negligible or not finite, has
        another number of axes than the keys, or was left out.
    correlation : Tensor, shape (filters,)
        Correlation of each filter with its key, with its sign; NaN where the assignment is -1.
    transform : Tensor of int64, shape (filters,)
        Which symmetry takes the key to the filter: so many quarter turns against the clock, from 4 on after a
        mirroring left to right. On one axis 1 is a mirroring; for three axes see
        :func:`scalekeys.clustering.windows.symmetries`. 0 where the assignment is -1.
    explained : float
        Share of the energy of the centred filters that their keys explain, weighted as the spec says.
    white_noise, matched_noise : float
        The same share for as many keys of noise in the place of the filters (:func:`scalekeys.white_noise_like`,
        :func:`scalekeys.matched_noise_like`), found in the same way; NaN where no controls were asked for.
    notes : tuple of str
        What was decided on the way, in sentences a user should see, such as filters that were left out for their
        number of axes.
    """

    banks: tuple[FilterBank, ...]
    spec: ClusterSpec
    filters: Float[Tensor, "keys *sides"]
    assignment: Int[Tensor, "filters"]
    correlation: Float[Tensor, "filters"]
    transform: Int[Tensor, "filters"]
    explained: float
    white_noise: float = math.nan
    matched_noise: float = math.nan
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, banks: tuple[FilterBank, ...], points: Points, rows: Float[Tensor, "keys taps"], nearest: Assignment
    ) -> "Keys":
        """Sort keys by the weight of their members, and spread what is known of points over all filters."""
        weight = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        order = weight.index_add(0, nearest.key, points.weights).argsort(descending=True, stable=True)
        total = sum(map(len, banks))
        assignment = torch.full((total,), -1, dtype=torch.long, device=rows.device)
        assignment[points.positions] = order.argsort()[nearest.key]
        correlation = torch.full((total,), torch.nan, dtype=torch.float64, device=rows.device)
        correlation[points.positions] = nearest.product.clamp(-1, 1)
        transform = torch.zeros_like(assignment)
        transform[points.positions] = nearest.transform
        explained = float(points.weights @ nearest.product.square() / points.weights.sum())
        filters = rows[order].view(-1, *points.window)
        return cls(banks, points.spec, filters, assignment, correlation, transform, explained, notes=points.notes)

    def __len__(self) -> int:
        return len(self.filters)

    def __repr__(self) -> str:
        count = int(self.counts.sum())
        keys = f"{len(self)} key{'' if len(self) == 1 else 's'}"
        controls = f"white noise {self.white_noise:.2f}, matched noise {self.matched_noise:.2f}"
        shares = f"share explained {self.explained:.2f}" + ("" if math.isnan(self.white_noise) else f", {controls}")
        return f"Keys({keys} of {size_text(self.window)} from {count} filters, {shares})"

    @property
    def window(self) -> Size:
        """Sides of the keys in the order of the array: (cols,), (rows, cols) or (slices, rows, cols)."""
        return tuple(self.filters.shape[1:])

    @property
    def axes(self) -> int:
        """How many axes the keys have: 1, 2 or 3."""
        return len(self.window)

    @cached_property
    def counts(self) -> Int[Tensor, "keys"]:
        """Number of members of each key."""
        return torch.bincount(self.assignment[self.assignment >= 0], minlength=len(self))

    @cached_property
    def negligible(self) -> Bool[Tensor, "filters"]:
        """Which filters are left out since they are negligible in their network, in the order of the banks."""
        return torch.cat([bank.negligible for bank in self.banks])

    def coverage(self, threshold: float = COVERED) -> float:
        """Return the share of the clustered filters that correlate with their key by at least a threshold."""
        size = self.correlation[self.assignment >= 0].abs()
        return float((size >= threshold).double().mean())

    def coverage_by_layer(self, threshold: float = COVERED) -> "pd.DataFrame":
        """Return for each layer how many filters were clustered, and the share of them that is covered.

        Parameters
        ----------
        threshold : float
            Least correlation, whatever its sign.

        Returns
        -------
        DataFrame
            Columns `model`, `layer`, `depth`, `filters`, `coverage`, one row a layer with clustered filters.
        """
        import pandas as pd

        used = (self.assignment >= 0).cpu().numpy()
        covered = self.correlation.abs().ge(threshold).cpu().numpy()
        rows = []
        for segment in segments_of(self.banks):
            mine = slice(segment.start, segment.start + len(segment.layer))
            count = int(used[mine].sum())
            if count:
                share = float(covered[mine].sum()) / count
                rows.append((segment.model, segment.layer.name, segment.layer.depth, count, share))
        return pd.DataFrame(rows, columns=["model", "layer", "depth", "filters", "coverage"])

    def match_published(self) -> "pd.DataFrame":
        """Assign keys and the eight published ones one to one, with the largest sum of squared correlations.

        The published keys, which have two axes, are cropped to the window of the found ones, and centred there, or
        padded to it. With symmetry a correlation is the largest of the eight. (Squares, the shares of energy, keep many
        weak pairs from breaking up a strong one.)

        Returns
        -------
        DataFrame
            Columns `key` (from 0), `published` (from 1), `family`, `correlation`, one row a key; empty (NA) for keys
            without a partner, and for all keys that have another number of axes.
        """
        import pandas as pd
        from scipy.optimize import linear_sum_assignment

        correlation = np.zeros((len(self), 0))
        if self.axes == 2:
            correlation = likeness(self.filters.flatten(1), self.window, self.spec.symmetry)[0].numpy()
        ours, theirs = linear_sum_assignment(-np.square(correlation))
        partners = dict(zip(ours.tolist(), theirs.tolist(), strict=True))
        rows = []
        for key in range(len(self)):
            mine = partners.get(key)
            found = (
                (None, None, None) if mine is None else (mine + 1, MASTER_KEY_FAMILIES[mine], correlation[key, mine])
            )
            rows.append((key, *found))
        frame = pd.DataFrame(rows, columns=["key", "published", "family", "correlation"])
        return frame.astype({"published": "Int64", "family": "string", "correlation": "float64"})

    def fit(self, model: str | tuple[str, ...] = "ideal") -> Fit:
        """Fit scale-space models to the keys, by default the idealized receptive fields; see :func:`scalekeys.fit`."""
        return fit(self.filters, model, axes=self.axes)

    def members(self, key: int, n: int | None = None) -> Int[Tensor, "members"]:
        """Return which filters belong to a key, those most like it first.

        Parameters
        ----------
        key : int
        n : int, optional
            How many; by default all.

        Raises
        ------
        FilterError
            If there is no such key.
        """
        if not 0 <= key < len(self):
            raise FilterError(f"there is no key {key}; the keys are 0 to {len(self) - 1}")
        mine = (self.assignment == key).nonzero()[:, 0]
        return mine[self.correlation[mine].abs().argsort(descending=True, stable=True)][:n]

    def uncovered(self, n: int | None = None, threshold: float = COVERED) -> Int[Tensor, "uncovered"]:
        """Return which clustered filters correlate less than a threshold with their key, the least like it first."""
        size = self.correlation.abs()
        mine = (size < threshold).nonzero()[:, 0]
        return mine[size[mine].argsort(stable=True)][:n]

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a filter: `model`, `layer`, `depth`, `channel`, `key`, `correlation`, `transform`.

        Key and transform of a filter that was not clustered are `<NA>`, and its correlation is NaN.
        """
        import pandas as pd

        segments = segments_of(self.banks)
        counts = [len(segment.layer) for segment in segments]

        def words(values: list[str]) -> pd.Categorical:
            return pd.Categorical(np.repeat(np.array(values, dtype=object), counts))

        key = pd.array(self.assignment.cpu().numpy(), dtype="Int64")
        transform = pd.array(self.transform.cpu().numpy(), dtype="Int64")
        none = (self.assignment < 0).cpu().numpy()
        key[none], transform[none] = pd.NA, pd.NA
        return pd.DataFrame(
            {
                "model": words([segment.model for segment in segments]),
                "layer": words([segment.layer.name for segment in segments]),
                "depth": np.repeat([segment.layer.depth for segment in segments], counts),
                "channel": np.concatenate([np.arange(count) for count in counts]),
                "key": key,
                "correlation": self.correlation.cpu().numpy(),
                "transform": transform,
            }
        )
