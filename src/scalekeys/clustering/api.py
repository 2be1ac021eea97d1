"""The public entry to clustering."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.clustering.elimination import distinct
from scalekeys.clustering.keys import Keys
from scalekeys.clustering.points import as_banks, noise_of, points_of, sample
from scalekeys.clustering.published import in_standard_frame
from scalekeys.clustering.refinement import assigned, best_of, refined
from scalekeys.clustering.search import search
from scalekeys.clustering.spec import ClusterSpec, Sizes, Symmetry, Weighting, parse_spec
from scalekeys.clustering.windows import unit_rows
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.shapes import ArrayLike, size_text
from scalekeys.threads import one_thread

FINALISTS = 3
"""Solutions of the search that are refined on all filters."""
_CANDIDATES = 8_192
_SAMPLE, _SAMPLE_PER_KEY, _SAMPLE_PRODUCTS = 2**14, 2**11, 2**25

Advance: TypeAlias = Callable[[float], None]
Stretch: TypeAlias = Callable[[float, float], Advance]


def cluster(
    filters: FilterBank | Sequence[FilterBank] | ArrayLike,
    k: int = 8,
    *,
    seed: int = 0,
    restarts: int = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    axes: int | None = None,
    controls: bool = True,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Keys:
    r"""Find the few filters, the keys, of which all others are copies up to amplitude, sign and offset.

    Parameters
    ----------
    filters : FilterBank, sequence of FilterBank, or Tensor or array of shape (..., *sides)
        The filters of one network or of many. Those that are constant, negligible (:attr:`scalekeys.fitting.Fit.dead`)
        or not finite are left out.
    k : int
        Number of keys; :func:`scalekeys.choose_k` recommends one.
    seed, restarts : int
        Each restart has its own stream of random numbers. The result depends on the seed, and not on the order,
        signs, amplitudes and offsets of the filters.
    weighting : {"equal", "energy"}
        What a filter counts: `equal`, one; `energy`, the square of its centred norm.
    symmetry : {"none", "dihedral"}
        With `dihedral` a key stands for its mirror images too, and on several axes for what quarter turns make of it.
    sizes : {"largest", "common"} or tuple of int
        How kernels of several sizes compare: padded with zeros to the largest size, cropped to the smallest, or only
        those of one size, such as (7, 7). Where odd and even sides meet, the common side is odd.
    layers : str or sequence of str, optional
        Patterns (as of file names) of the layers to take; by default all.
    axes : int, optional
        How many axes the kernels have that are clustered, 1, 2 or 3. Kernels with another number of axes are left out:
        they are never copies of one key. By default the number that most filters of the layers have (of two that are as
        frequent the larger one), and :attr:`Keys.notes` says what is left out. Of an array it says how many of the last
        dimensions are the kernel, 2 by default.
    controls : bool
        Whether white noise and matched noise in the place of the filters are clustered too, so that
        :attr:`Keys.white_noise` and :attr:`Keys.matched_noise` tell what as many keys explain of them. Keys that
        explain no more of the filters than as many do of white noise say nothing; what they explain beyond matched
        noise is not due to smoothness and width alone. Without controls the search takes a third
        of the time.
    batch_size : int, optional
        Filters at a time. With it, filters are read from where they are in each pass, and memory does not grow with
        them but by a few hundred bytes each; without it they are kept as float32 vectors too. The keys are the same
        up to rounding. (The noise of the controls takes as much memory as the filters.)
    progress : callable, optional
        Called with a number of filters as the work goes on; the numbers add up to the number of all filters.

    Returns
    -------
    Keys

    Raises
    ------
    ModelError
        If an option is unknown.
    FilterError
        If no filters are left to cluster, or fewer than `k`, or no kernel has as many axes as asked for.

    Notes
    -----
    A filter :math:`h \approx a u + b` of a key u is, once centred, a point near a line through the origin. With
    :math:`y_i` the centred filters (of unit norm for equal weights), keys minimise

    .. math:: \sum_i \min_j \left( |y_i|^2 - \langle y_i, u_j \rangle^2 \right), \qquad |u_j| = 1 ,

    by alternating assignment and leading eigenvectors of the scatter matrices of the members: k-subspaces with
    subspaces of one dimension. The starts are those of greedy k-means++ with :math:`1 - \cos^2` for squared
    distance. Each then tries swaps: the key that others can best replace is given up for a point that is explained
    badly, and the swap is kept if more is explained after a few iterations.

    The search runs on a seeded sample of at most 16,384 filters or, if that is more, 2,048 a key (less where
    symmetries would make it large); the three best solutions are refined on all filters.

    References
    ----------
    Bradley, Mangasarian, "k-plane clustering", Journal of Global Optimization 16, 2000.
    Tseng, "Nearest q-flat to m points", Journal of Optimization Theory and Applications 105, 2000.
    Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    Fränti, "Efficiency of random swap clustering", Journal of Big Data 5:13, 2018.
    Babaiee, Kiasari, Rus, Grosu (2025), for the eight published keys.

    Examples
    --------
    Two thousand noisy copies of the published keys, of both signs:

    >>> import torch
    >>> import scalekeys as sk
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise, sign = torch.randn(2000, 7, 7, generator=generator), torch.randn(2000, 1, 1, generator=generator)
    >>> filters = sk.master_keys().repeat(250, 1, 1) * sign.sign() + 0.1 * noise + 3.0
    >>> keys = sk.cluster(filters, k=8)
    >>> keys
    Keys(8 keys of 7x7 from 2000 filters, share explained 0.68, white noise 0.10, matched noise 0.44)
    >>> bool(keys.match_published().correlation.min() > 0.99)
    True
    """
    spec = parse_spec(
        k,
        seed=seed,
        restarts=restarts,
        weighting=weighting,
        symmetry=symmetry,
        sizes=sizes,
        layers=layers,
        axes=axes,
        batch_size=batch_size,
    )
    banks = as_banks(filters, axes or 2)
    work = _Work(sum(map(len, banks)), progress)
    if not controls:
        return _clustered(banks, spec, work.part)
    keys = _clustered(banks, spec, work.within(0, 1 / 3))
    white = _clustered(noise_of(banks, white_noise_like, spec.seed), spec, work.within(1 / 3, 2 / 3))
    matched = _clustered(noise_of(banks, matched_noise_like, spec.seed), spec, work.within(2 / 3, 1))
    return replace(keys, white_noise=white.explained, matched_noise=matched.explained)


@one_thread()
def with_other_keys(found: Keys, filters: Float[Tensor, "keys *sides"]) -> Keys:
    """Return the same filters with other keys in the place of those found, and the controls of those found.

    Parameters
    ----------
    found : Keys
    filters : Tensor, shape (keys, *sides)
        Of the same window.

    Raises
    ------
    FilterError
        If the window is another, or a key is constant.

    Examples
    --------
    >>> import scalekeys as sk
    >>> found = sk.cluster(sk.master_keys(), k=2, controls=False)
    >>> with_other_keys(found, sk.master_keys())
    Keys(8 keys of 7x7 from 8 filters, share explained 1.00)
    """
    if tuple(filters.shape[1:]) != found.window:
        raise FilterError(
            f"keys of {size_text(filters.shape[1:])} cannot take the place of keys of {size_text(found.window)}"
        )
    rows, norms = unit_rows(filters, found.window)
    if not bool((norms > 0).all()):
        raise FilterError("a constant filter, or one that is not finite, is no key")
    points = points_of(found.banks, replace(found.spec, k=len(rows)))
    rows = in_standard_frame(rows.to(points.device).double(), points.window, found.spec.symmetry)
    keys = Keys.of(found.banks, points, rows, assigned(points, rows))
    return replace(keys, white_noise=found.white_noise, matched_noise=found.matched_noise)


def distinct_filters(
    filters: FilterBank | Sequence[FilterBank] | ArrayLike,
    *,
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    axes: int | None = None,
) -> Float[Tensor, "filters *sides"]:
    """Return the filters themselves as candidates for keys, without those that are nearly the same.

    Parameters
    ----------
    filters, sizes, layers, axes
        See :func:`cluster`.

    Returns
    -------
    Tensor, shape (filters, *sides), float64
        Centred, of unit norm, in one window; no two correlate by 0.99 or more.

    Raises
    ------
    FilterError
        If there are more than 8,192 filters, or none.

    Examples
    --------
    >>> import scalekeys as sk
    >>> distinct_filters(sk.master_keys().repeat(3, 1, 1)).shape
    torch.Size([8, 7, 7])
    """
    spec = parse_spec(1, sizes=sizes, layers=layers, axes=axes)
    points = points_of(as_banks(filters, axes or 2), spec)
    if len(points) > _CANDIDATES:
        raise FilterError(
            f"{len(points)} filters are too many candidates for keys, at most {_CANDIDATES}; cluster them first"
        )
    rows = points.take(torch.arange(len(points), device=points.device))
    return distinct(rows.view(-1, *points.window)).double()


@one_thread()
def _clustered(banks: tuple[FilterBank, ...], spec: ClusterSpec, stretch: Stretch) -> Keys:
    """Find the keys of banks; `stretch` gives what to call with the progress between two marks."""
    points = points_of(banks, spec)
    which = sample(points, min(sample_size(spec.k, len(points.moves)), len(points)), spec.seed)
    found, _ = search(
        points.take(which),
        points.weights[which],
        spec.k,
        points.moves,
        seed=spec.seed,
        restarts=spec.restarts,
        advance=stretch(0.0, 0.4),
    )
    best = best_of(points, found[:FINALISTS], stretch(0.4, 0.7))
    rows = in_standard_frame(refined(points, best, stretch(0.7, 0.99)), points.window, spec.symmetry)
    nearest = assigned(points, rows)
    stretch(0.99, 1.0)(1.0)
    return Keys.of(banks, points, rows, nearest)


def sample_size(k: int, transforms: int) -> int:
    """Return how many filters the search looks at: enough for each key, and no more scalar products than fit."""
    return min(max(_SAMPLE, _SAMPLE_PER_KEY * k), max(_SAMPLE_PRODUCTS // (k * transforms), k))


class _Work:
    """Turns shares of the work into numbers of filters that add up to all of them."""

    def __init__(self, filters: int, progress: Callable[[int], None] | None) -> None:
        self._filters, self._progress, self._told = filters, progress, 0

    def within(self, first: float, last: float) -> Stretch:
        """Return a function like :meth:`part` whose marks run from `first` to `last`."""
        return lambda begin, end: self.part(first + begin * (last - first), first + end * (last - first))

    def part(self, begin: float, end: float) -> Advance:
        """Return what to call with shares of the work between two marks."""
        done = 0.0

        def advance(share: float) -> None:
            nonlocal done
            done = min(1.0, done + share)
            self._tell(begin + (end - begin) * done)

        return advance

    def _tell(self, share: float) -> None:
        number = min(self._filters, round(share * self._filters)) - self._told
        if self._progress is not None and number > 0:
            self._told += number
            self._progress(number)
