"""An axis of scales that holds both ends: no smoothing at all, and an infinite scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalekeys.report.page.words import INFINITY

_TICKS = (0, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 1000)
_MIDDLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_ROOM = 0.03  # before 0 and after the largest scale, as a share of the axis


@dataclass(frozen=True)
class ScaleAxis:
    """An axis on which a scale sigma stands at ``sigma / (middle + sigma)``, and an infinite one at 1.

    Parameters
    ----------
    middle : float
        The scale that stands at one half.
    end : float
        Where the largest scale stands.

    Examples
    --------
    >>> axis = ScaleAxis.of(np.array([0.5, 1.0, 3.0, np.inf, np.nan]))
    >>> axis.places(np.array([0.0, 1.0, 3.0, np.inf]))
    [0.0, 0.5, 0.75, 1.0]
    >>> axis.ticks(0.1)["ticktext"]
    ['0', '0.25', '0.5', '1', '2', '5', '∞']
    """

    middle: float
    end: float

    @classmethod
    def of(cls, scales: np.ndarray) -> "ScaleAxis":
        """Return an axis for some scales, with their median near its middle; those that are NaN do not count."""
        known = scales[~np.isnan(scales)]
        finite = known[np.isfinite(known) & (known > 0)]
        typical = float(np.median(finite)) if len(finite) else 1.0
        middle = min(_MIDDLES, key=lambda value: abs(np.log(value / typical)))
        largest = float(known.max(initial=middle))
        return cls(middle, 1.0 if np.isinf(largest) else largest / (middle + largest))

    def places(self, scales: np.ndarray) -> list[float | None]:
        """Return where scales stand; None for NaN."""
        with np.errstate(invalid="ignore"):
            places = np.where(np.isinf(scales), 1.0, scales / (self.middle + scales))
        return [None if np.isnan(place) else round(float(place), 4) for place in places]

    def ticks(self, gap: float) -> dict[str, Any]:
        """Return ticks with a least gap between them, as a share of the axis, for the entries of an axis of a plot."""
        least, last = gap * self.end, self.end - (gap * self.end if self.end == 1.0 else 0.0)
        places: list[float] = []
        texts: list[str] = []
        for tick in _TICKS:
            place = tick / (self.middle + tick)
            if not places or (place <= last and place - places[-1] >= least):
                places.append(round(place, 4))
                texts.append(f"{tick:g}")
        if self.end == 1.0:
            places.append(1.0)
            texts.append(INFINITY)
        return {"tickvals": places, "ticktext": texts}

    @property
    def range(self) -> list[float]:
        """The ends of the axis, with a little room."""
        return [round(-_ROOM * self.end, 4), round((1 + _ROOM) * self.end, 4)]
