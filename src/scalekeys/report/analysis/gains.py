"""What a free angle explains of each filter beyond aligned idealized receptive fields, beside both controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import numpy as np

from scalekeys.atlas.queries import CLEAR_GAIN
from scalekeys.fitting import Fit, orientation
from scalekeys.fitting.spec import FitSpec
from scalekeys.report.page.orientation import Orientation, Share, share_of
from scalekeys.scalespace import ideal
from scalekeys.shapes import size_text


@dataclass(frozen=True, eq=False)
class Gain:
    """What a free angle explains of the filters of a bank beyond the best aligned template and the fit.

    Parameters
    ----------
    gain : array, shape (filters,)
        NaN where a filter has no angle, or no fit.
    angle : array, shape (filters,)
        Of the best oriented template, in degrees from 0 to 90: a smoothing that is wide along one angle is narrow
        across it, so that angles are told up to a quarter turn.
    """

    gain: np.ndarray
    angle: np.ndarray

    @property
    def clear(self) -> np.ndarray:
        """Which filters gain so much that it counts; shape (filters,)."""
        return np.asarray(np.nan_to_num(self.gain) > CLEAR_GAIN)

    def share(self, mask: np.ndarray) -> Share | None:
        """Return the share of filters that gain, among those of a mask with an angle; None where there are none."""
        known = mask & np.isfinite(self.gain)
        return share_of(int((known & self.clear).sum()), int(known.sum())) if known.any() else None


class Gains(NamedTuple):
    """The gains of a bank and of both its controls."""

    real: Gain
    white: Gain
    matched: Gain


def gains_of(fits: Sequence[Fit]) -> Gains | None:
    """Measure the gains of a bank and both controls.

    Returns
    -------
    Gains or None
        None where no kernel has two axes of three taps or more, or where the fits are not those of the idealized
        families by least squares, with a scale for each axis: the gain is what an angle explains beyond these.
    """
    real = fits[0]
    if not _is_ideal(real.spec) or not any(map(_has_angle, real.bank.sizes)):
        return None
    return Gains(*map(_gain, fits))


def by_size(gains: Gains | None, fit: Fit) -> tuple[Orientation, ...]:
    """Return the share of filters that gain for each kernel size that has an angle, beside both controls."""
    if gains is None:
        return ()
    rows = []
    for size in filter(_has_angle, fit.bank.sizes):
        mask = np.zeros(len(fit), dtype=bool)
        mask[fit.bank.of_size(size)[1].cpu().numpy()] = True
        real, white, matched = (one.share(mask) for one in gains)
        if real and white and matched:
            rows.append(Orientation(size_text(size), real, white, matched))
    return tuple(rows)


def _is_ideal(spec: FitSpec) -> bool:
    two_axes = {name for name in spec.families if spec.base(name, 2)}
    return spec == FitSpec(spec.model, spec.families) and two_axes == set(ideal(2))


def _has_angle(size: tuple[int, ...]) -> bool:
    return len(size) == 2 and min(size) > 2


def _gain(fit: Fit) -> Gain:
    found = orientation(fit.bank)
    return Gain(found.gain_beyond(fit.r2).numpy(), np.degrees(np.mod(found.angle.numpy(), pi / 2)))
