"""What a network loses against the number of its keys, beside random candidates and noise."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.networks.measuring.evaluation import AccuracyDifference, Evaluation, evaluate
from scalekeys.networks.measuring.key_elimination import (
    STATISTICS_INPUTS,
    Kept,
    KeyElimination,
    Progress,
    replaced_by_keys,
)
from scalekeys.networks.measuring.output_error import OutputError, outputs_of
from scalekeys.networks.running.batches import Batches
from scalekeys.proportions import mean_interval

if TYPE_CHECKING:
    import pandas as pd

Measured: TypeAlias = Literal["accuracy", "outputs"]
Source: TypeAlias = Literal["eliminated", "random", "white noise", "matched noise"]
CONTROLS: tuple[Source, ...] = ("random", "white noise", "matched noise")


@dataclass(frozen=True)
class KeyCurvePoint:
    """What is measured with so many keys of one source.

    `count`: how many keys.
    `values`: one for each draw, a single one where nothing is drawn.
    `interval`: with 95 % confidence: of a single value, for other inputs of this kind; of several, for the mean of all
    draws.
    `loss`: the accuracy less that of the original network, on the same inputs; None for draws and for errors of
    outputs.
    """

    source: Source
    count: int
    values: tuple[float, ...]
    interval: tuple[float, float]
    loss: AccuracyDifference | None = None

    @property
    def value(self) -> float:
        """The mean over the draws."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, eq=False)
class KeyCurve:
    """What is measured against the number of keys.

    Parameters
    ----------
    elimination : KeyElimination
    measured : {"accuracy", "outputs"}
        The share of inputs that are classified correctly, or the squared change of the outputs as a share of their
        variance over the inputs.
    inputs : int
        On how many inputs.
    original : float
        Of the network as it was; 0 for the change of the outputs.
    interval : (float, float)
        Where it lies with 95 % confidence.
    points : tuple of KeyCurvePoint
        From the largest number of keys to the smallest, the elimination before its controls.
    """

    elimination: KeyElimination
    measured: Measured
    inputs: int
    original: float
    interval: tuple[float, float]
    points: tuple[KeyCurvePoint, ...]

    def __repr__(self) -> str:
        counts = ", ".join(dict.fromkeys(str(point.count) for point in self.points))
        return f"KeyCurve({self.measured} with {counts} keys on {self.inputs} inputs)"

    def at(self, count: int) -> tuple[KeyCurvePoint, ...]:
        """Return what is measured with so many keys."""
        return tuple(point for point in self.points if point.count == count)

    def as_good(self, point: KeyCurvePoint) -> int:
        """Return how many draws of a control are as good as the keys of the elimination, of the same number."""
        (best,) = self.at(point.count)[0].values
        better = (lambda value: value >= best) if self.measured == "accuracy" else (lambda value: value <= best)
        return sum(map(better, point.values))

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a point: `source`, `count`, `value`, `low`, `high`, `draws` and `as_good`."""
        import pandas as pd

        rows = [
            (one.source, one.count, one.value, *one.interval, len(one.values), self.as_good(one)) for one in self.points
        ]
        return pd.DataFrame(rows, columns=["source", "count", "value", "low", "high", "draws", "as_good"])


def curve_counts(candidates: int, keep: int) -> tuple[int, ...]:
    """Return the numbers of keys of a curve: all candidates, 50, 25 and 10 % of them, and how many are kept.

    >>> curve_counts(64, 8), curve_counts(10, 8)
    ((64, 32, 16, 8, 6), (10, 8, 5, 2, 1))
    """
    shares = {max(1, candidates // part) for part in (1, 2, 4, 10)}
    return tuple(sorted({*shares, keep}, reverse=True))


def key_curve(
    module: nn.Module,
    elimination: KeyElimination,
    batches: Batches,
    *,
    statistics: Batches,
    counts: Sequence[int] | None = None,
    measured: Measured = "accuracy",
    layers: Sequence[str] | None = None,
    draws: int = 3,
    seed: int = 0,
    progress: Progress = None,
) -> KeyCurve:
    """Measure a network with the keys of an elimination, and beside them with as many random candidates and noise.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is.
    elimination : KeyElimination
    batches : iterable
        Batches to measure on, with labels for the accuracy. Give others than those of the elimination: on its own
        batches an elimination looks better than it is.
    statistics : iterable
        Batches on whose first 128 inputs the channels behind the depthwise layers are matched to the original network,
        such as those of the elimination.
    counts : sequence of int, optional
        Numbers of keys; by default how many there were at first, and how many remained.
    measured : {"accuracy", "outputs"}
    layers : sequence of str, optional
        Replace filters only in the layers of these names; by default in all. See :func:`eliminate_keys`.
    draws : int
        How often candidates are drawn at random, and noise is drawn in the place of the candidates. White noise shares
        means and norms with them, matched noise also how their taps vary together.
    seed : int
        Of the first draw.
    progress : callable, optional
        Called with 1 after each measurement; :func:`curve_measurements` says how many come.

    Returns
    -------
    KeyCurve

    Raises
    ------
    ModelError
        If the elimination never had so many keys, labels are missing, or `measured` is unknown.

    Examples
    --------
    >>> import scalekeys as sk
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(sk.master_keys()[:, None])
    >>> images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> found = sk.eliminate_keys(network, sk.master_keys(), images[:4], keep=2, by="outputs")
    >>> curve = key_curve(network, found, images[4:], statistics=images[:4], measured="outputs")
    >>> curve
    KeyCurve(outputs with 8, 2 keys on 4 inputs)
    >>> round(curve.at(8)[0].value, 6)
    0.0
    """
    if measured not in get_args(Measured):
        raise ModelError(f"unknown measured={measured!r}; choose one of {', '.join(get_args(Measured))}")
    if draws < 1:
        raise ModelError(f"draws must be at least 1, got {draws}")
    everything = len(elimination.candidates)
    wanted = sorted({everything, elimination.rounds[-1].left} if counts is None else {*counts}, reverse=True)
    stacks = [(count, elimination.keys(count)) for count in wanted]  # refuses numbers before anything is measured
    kept = Kept(module, batches)
    measure = _Accuracy(kept) if measured == "accuracy" else _Outputs(kept)
    first = Kept(module, statistics).first(STATISTICS_INPUTS)

    def point(source: Source, count: int, stacks: Sequence[Tensor]) -> KeyCurvePoint:
        values, single = [], None
        for keys in stacks:
            single = measure(replaced_by_keys(kept.module, keys, first, layers=layers))
            values.append(single.value)
            if progress is not None:
                progress(1)
        if source == "eliminated" and single is not None:
            return KeyCurvePoint(source, count, tuple(values), single.interval, single.loss)
        return KeyCurvePoint(source, count, tuple(values), mean_interval(values, measure.bounds))

    points = []
    for count, keys in stacks:
        points.append(point("eliminated", count, [keys]))
        points += [
            point(source, count, list(drawn))
            for source, drawn in _controls(elimination.candidates, count, range(seed, seed + draws))
        ]
    original, count = measure.original, sum(map(len, kept.inputs))
    return KeyCurve(elimination, measured, count, original.value, original.interval, tuple(points))


def curve_measurements(counts: Sequence[int], candidates: int, draws: int) -> int:
    """Return how often :func:`key_curve` measures; all candidates are drawn in one way only.

    >>> curve_measurements((64, 8), 64, draws=3)
    17
    """
    return sum(1 + draws * (len(CONTROLS) - (count == candidates)) for count in counts)


@dataclass(frozen=True)
class _Single:
    """One measured network."""

    value: float
    interval: tuple[float, float]
    loss: AccuracyDifference | None = None


class _Accuracy:
    """Measures the share of inputs that are classified correctly."""

    bounds = (0.0, 1.0)

    def __init__(self, kept: Kept) -> None:
        self._batches = kept.batches
        self._evaluation = evaluate(kept.module, kept.batches)
        self.original = _Single(self._evaluation.top1, self._evaluation.top1_interval)

    def __call__(self, network: nn.Module) -> _Single:
        found: Evaluation = evaluate(network, self._batches)
        return _Single(found.top1, found.top1_interval, found.difference(self._evaluation))


class _Outputs:
    """Measures the squared change of the outputs as a share of their variance."""

    bounds = (0.0, math.inf)
    original = _Single(0.0, (0.0, 0.0))

    def __init__(self, kept: Kept) -> None:
        self._inputs = kept.inputs
        self._outputs = outputs_of(kept.module, kept.inputs)

    def __call__(self, network: nn.Module) -> _Single:
        found = OutputError.of(outputs_of(network, self._inputs), self._outputs)
        return _Single(found.value, found.interval)


def _controls(
    candidates: Float[Tensor, "candidates *sides"], count: int, seeds: Sequence[int]
) -> Iterator[tuple[Source, Iterator[Tensor]]]:
    """Give so many random candidates, and so many filters of both kinds of noise, drawn with each seed."""
    bank = FilterBank.from_tensor(candidates, axes=candidates.ndim - 1)
    noises: dict[Source, Callable[..., FilterBank]] = {
        "white noise": white_noise_like,
        "matched noise": matched_noise_like,
    }
    if count < len(candidates):
        yield "random", (candidates[_drawn(len(candidates), count, seed)] for seed in seeds)
    for source, noise in noises.items():
        yield (
            source,
            (noise(bank, seed=seed).layers[0].kernels[_drawn(len(candidates), count, seed)] for seed in seeds),
        )


def _drawn(candidates: int, count: int, seed: int) -> Int[Tensor, "count"]:
    return torch.randperm(candidates, generator=torch.Generator().manual_seed(seed))[:count].sort().values
