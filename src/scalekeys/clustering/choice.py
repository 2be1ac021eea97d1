"""Choosing the number of keys: what they explain beyond noise, and whether they are found again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from scalekeys.clustering.lines import Moves, Rows, Weights, images
from scalekeys.clustering.points import Points, as_banks, noise_of, points_of, sample
from scalekeys.clustering.search import search
from scalekeys.clustering.spec import Sizes, Symmetry, Weighting, parse_spec
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.shapes import ArrayLike
from scalekeys.threads import in_threads, one_thread

if TYPE_CHECKING:
    import pandas as pd

FOUND_AGAIN = 0.9
"""Correlation from which a key of one half of the filters counts as found again in the other."""
_SAMPLE, _SPLITS = 2**13, 3


@dataclass(frozen=True, eq=False)
class KChoice:
    """How many keys some filters have.

    Parameters
    ----------
    table : DataFrame
        One row a number of keys: `k`, `explained`, `white_noise`, `matched_noise`, `gap`, `stability_restarts`,
        `stability_halves`.
    best : int
        The number that is recommended.
    reason : str
        Why, in one sentence.
    notes : tuple of str
        What was decided on the way, in sentences; see :attr:`Keys.notes`.
    """

    table: "pd.DataFrame"
    best: int
    reason: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"KChoice(best {self.best} of {', '.join(map(str, self.table.k))})"


def choose_k(
    filters: FilterBank | Sequence[FilterBank] | ArrayLike,
    ks: Sequence[int] = range(1, 17),
    *,
    seed: int = 0,
    restarts: int = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    axes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> KChoice:
    r"""Recommend a number of keys: the largest whose keys are all found again, and worth more than in noise.

    Parameters
    ----------
    filters, seed, restarts, weighting, symmetry, sizes, layers, axes
        As for :func:`scalekeys.cluster`. At most 8,192 filters are looked at, a seeded sample.
    ks : sequence of int
        The numbers to try.
    progress : callable, optional
        Called with 1 after each of them.

    Returns
    -------
    KChoice
        Its table holds, for each k: `explained`, the share of energy; `white_noise` and `matched_noise`, the share that
        as many keys explain of noise in the place of the filters; `gap`, see below; `stability_restarts`, the median
        over restarts of the smallest correlation between the keys of a restart and those of the best, matched one to
        one; `stability_halves`, the same between two halves of the filters, the median of three splits.

    Raises
    ------
    ModelError
        If an option is unknown, or there is no k to try.
    FilterError
        If there are fewer than two filters for each key.

    Notes
    -----
    The gap of Tibshirani, Walther and Hastie compares what is left of noise and of the filters,

    .. math:: G(k) = \log \frac{1 - c(k)}{1 - e(k)} ,

    with e the share explained and c that of white noise. A further key always explains something; the gap grows if it
    takes away a larger part of what was left than it would of white noise. (Matched noise varies along the directions
    in which the filters vary, so that a gap beside it misses keys that are alike.) A key counts as found again if its
    partner in the other half correlates by at least 0.9 with it. Recommended is the largest k for which all keys are
    found again and the gap is larger than for every smaller k. The share that as many keys explain of matched noise
    tells whether these keys are more than smoothness and width.

    References
    ----------
    Tibshirani, Walther, Hastie, "Estimating the number of clusters in a data set via the gap statistic", Journal of
    the Royal Statistical Society B 63(2), 2001.
    Lange, Roth, Braun, Buhmann, "Stability-based validation of clustering solutions", Neural Computation 16(6), 2004.

    Examples
    --------
    >>> import torch
    >>> import scalekeys as sk
    >>> noise = torch.randn(150, 7, 7, generator=torch.Generator().manual_seed(0))
    >>> choice = sk.choose_k(sk.master_keys()[5:].repeat(50, 1, 1) + 0.1 * noise, range(2, 5))
    >>> choice.best
    3
    """
    options = {"seed": seed, "restarts": restarts, "weighting": weighting, "symmetry": symmetry, "sizes": sizes}
    numbers = sorted({int(k) for k in ks})
    if not numbers:
        raise ModelError("there is no number of keys to try; ks is empty")
    parse_spec(numbers[0], **options, layers=layers, axes=axes)  # type: ignore[arg-type]
    spec = parse_spec(numbers[-1], **options, layers=layers, axes=axes)  # type: ignore[arg-type]
    banks = as_banks(filters, axes or 2)
    with one_thread():
        points = points_of(banks, spec)
        samples = _samples(points, banks)
    threads = None if points.device.type == "cpu" else 1
    rows = []
    for k, found in zip(numbers, in_threads(lambda k: _tried(*samples, k), numbers, threads), strict=True):
        rows.append((k, *found))
        if progress is not None:
            progress(1)
    return _chosen(rows, points.notes)


@dataclass(frozen=True, eq=False)
class _Sample:
    """Points in memory, and how they are searched."""

    rows: Rows
    weights: Weights
    moves: Moves
    seed: int
    restarts: int

    @classmethod
    def of(cls, points: Points) -> "_Sample":
        spec = points.spec
        which = sample(points, min(_SAMPLE, len(points)), spec.seed)
        return cls(points.take(which), points.weights[which], points.moves, spec.seed, spec.restarts)

    def search(self, k: int, which: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        rows, weights = self.rows[which], self.weights[which]
        return search(rows, weights, k, self.moves, seed=self.seed, restarts=self.restarts)

    def halves(self, split: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + split)
        mixed = torch.randperm(len(self.rows), generator=generator, device="cpu").to(self.rows.device)
        return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def _samples(points: Points, banks: Sequence[FilterBank]) -> tuple[_Sample, _Sample, _Sample]:
    """Return a sample of the filters, and one each of white noise and of matched noise in their place."""
    spec = points.spec
    if len(points) < 2 * spec.k:
        raise FilterError(f"cannot look for {spec.k} keys in each half of {len(points)} usable filters; try fewer")
    white, matched = (
        points_of(noise_of(banks, control, spec.seed), spec) for control in (white_noise_like, matched_noise_like)
    )
    return _Sample.of(points), _Sample.of(white), _Sample.of(matched)


def _tried(real: _Sample, white: _Sample, matched: _Sample, k: int) -> tuple[float, float, float, float, float, float]:
    """Measure one number of keys."""
    keys, explained = real.search(k)
    share, of_white, of_matched = (float(found[0]) for found in (explained, white.search(k)[1], matched.search(k)[1]))
    gap = float(np.log1p(-of_white) - np.log(max(1 - share, 1e-12)))
    again = [_agreement(keys[0], other, real.moves) for other in keys[1:]]
    halves = []
    for split in range(_SPLITS):
        ours, theirs = (real.search(k, half)[0][0] for half in real.halves(split))
        halves.append(_agreement(ours, theirs, real.moves))
    stability = float(np.median(again)) if again else np.nan, float(np.median(halves))
    return share, of_white, of_matched, gap, *stability


def _agreement(ours: Float[Tensor, "keys taps"], theirs: Float[Tensor, "keys taps"], moves: Moves) -> float:
    """Match two sets of keys one to one, and return the smallest correlation of a pair."""
    correlation = torch.einsum("ip,jtp->ijt", ours, images(theirs[None], moves)[0]).abs().amax(-1).cpu().numpy()
    return float(correlation[linear_sum_assignment(-correlation)].min())


def _chosen(rows: list[tuple[int, float, float, float, float, float, float]], notes: tuple[str, ...]) -> KChoice:
    import pandas as pd

    names = ["k", "explained", "white_noise", "matched_noise", "gap", "stability_restarts", "stability_halves"]
    table = pd.DataFrame(rows, columns=names)
    grows = table.gap > table.gap.cummax().shift(fill_value=-np.inf)
    good = table[grows & (table.stability_halves >= FOUND_AGAIN)]
    if good.empty:
        smallest = table.iloc[0]
        reason = (
            f"no number of keys is found again in two halves of the filters (with k = {smallest.k:.0f}, the least, one "
            f"key correlates by {smallest.stability_halves:.2f}, where {FOUND_AGAIN} is asked), so take the fewest"
        )
        return KChoice(table, int(smallest.k), reason, notes)
    best = good.iloc[-1]
    reason = (
        f"{best.k:.0f} is the largest number whose keys are all found again in two halves of the filters (they "
        f"correlate by at least {best.stability_halves:.3f}) while another key explains more than it would of white "
        "noise"
    )
    return KChoice(table, int(best.k), reason, notes)
