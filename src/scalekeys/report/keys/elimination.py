"""The elimination of a report on keys: its figures, and the curve over the number of keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalekeys.networks import KeyCurve
from scalekeys.networks.measuring.key_curve import KeyCurvePoint
from scalekeys.report.page import Figure
from scalekeys.report.page.numbers import finite
from scalekeys.report.page.plots import axis, base_layout, curve, key, level, panel_title, rounded
from scalekeys.report.page.words import number, percent

_COLOURS = {"eliminated": "ink", "random": "along-x", "matched noise": "matched", "white noise": "control"}
_WORDS = {"eliminated": "elimination", "random": "random candidates"}


@dataclass(frozen=True)
class EliminationPoint:
    """What is measured with so many keys of one source.

    Parameters
    ----------
    source : str
        ``eliminated``, ``random``, ``white noise`` or ``matched noise``.
    count : int
        How many keys.
    value : float
        The mean over the draws.
    low, high : float
        Where it lies with 95 % confidence: a single value on other images, a mean over other draws.
    draws : int
    as_good : int
        Draws that are as good as the elimination with as many keys.
    loss : tuple of float, or None
        The accuracy less that of the original network, and the ends of the interval of the difference.
    """

    source: str
    count: int
    value: float
    low: float
    high: float
    draws: int
    as_good: int
    loss: tuple[float, float, float] | None


@dataclass(frozen=True)
class EliminationSummary:
    """What an elimination found, in figures.

    Parameters
    ----------
    network, data : str
    by : str
        What a missing candidate cost.
    measured : str
        ``accuracy``, or ``outputs`` for the change of the outputs as a share of their variance.
    candidates, measurements : int
    images : int
        On which the curve was measured; they decided nothing.
    original : float
        Of the network as it was.
    low, high : float
        Where it lies with 95 % confidence.
    points : tuple of EliminationPoint
    notes : tuple of str
    """

    network: str
    data: str
    by: str
    measured: str
    candidates: int
    measurements: int
    images: int
    original: float
    low: float
    high: float
    points: tuple[EliminationPoint, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of keys, the largest first."""
        return tuple(dict.fromkeys(point.count for point in self.points))

    def at(self, source: str, count: int) -> EliminationPoint | None:
        """Return what is measured with so many keys of a source; None where nothing is."""
        return next((one for one in self.points if (one.source, one.count) == (source, count)), None)

    def words(self, value: float) -> str:
        """Write a measured value: a percentage for an accuracy, a number for an error."""
        return percent(value) if self.measured == "accuracy" else number(value, 3)


def summarize_elimination(curve: KeyCurve, *, network: str, data: str, notes: Sequence[str] = ()) -> EliminationSummary:
    """Condense the curve of an elimination.

    Parameters
    ----------
    curve : KeyCurve
    network, data : str
        What they are called.
    notes : sequence of str
        What a reader should know.
    """
    elimination = curve.elimination
    return EliminationSummary(
        network,
        data,
        elimination.by,
        curve.measured,
        len(elimination.candidates),
        elimination.measurements,
        curve.inputs,
        curve.original,
        *curve.interval,
        tuple(_point(curve, point) for point in curve.points),
        tuple(notes),
    )


def _point(curve: KeyCurve, point: KeyCurvePoint) -> EliminationPoint:
    loss = None if point.loss is None else (point.loss.value, *point.loss.interval)
    drawn = len(point.values)
    return EliminationPoint(point.source, point.count, point.value, *point.interval, drawn, curve.as_good(point), loss)


def elimination_curve(summary: EliminationSummary) -> Figure:
    """Draw what is measured over the number of keys, on a logarithmic axis, for the elimination and its controls."""
    layout = base_layout(
        height=360,
        margin={"l": 52, "r": 12, "t": 34, "b": 44},
        xaxis=axis(
            "number of keys",
            type="log",
            tickvals=list(summary.counts),
            ticktext=list(map(str, summary.counts)),
            showgrid=False,
        ),
        yaxis=axis(
            "top-1 accuracy" if summary.measured == "accuracy" else "error of the outputs",
            rangemode="tozero",
            tickformat=".0%" if summary.measured == "accuracy" else "",
        ),
        shapes=[level(summary.original)],
        annotations=[panel_title(1, "".join(key("●", _COLOURS[name], _WORDS.get(name, name)) for name in _COLOURS))],
    )
    data = [_trace(summary, source) for source in _COLOURS]
    text = "Lines over the number of keys: the elimination, random candidates, and noise in the place of candidates"
    return Figure("elimination-curve", data, layout, text)


def _trace(summary: EliminationSummary, source: str) -> dict[str, Any]:
    points = [point for point in summary.points if point.source == source]
    colour = f"var(--{_COLOURS[source]})"
    hover = [
        f"<b>{point.count} keys, {_WORDS.get(source, source)}</b><br>{summary.words(point.value)}, 95 % from "
        f"{summary.words(point.low)} to {summary.words(point.high)}"
        for point in points
    ]
    return curve([point.count for point in points], [finite(point.value) for point in points], colour, hover) | {
        "name": _WORDS.get(source, source),
        "error_y": {
            "array": rounded((finite(point.high - point.value) for point in points), 5),
            "arrayminus": rounded((finite(point.value - point.low) for point in points), 5),
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
    }
