"""How far apart the samples of a value lie, in samples of what the network is given: the *pitch*, axis by axis.

Where a graph is followed, each value has a *grid*: a pitch for each of its axes. A stride multiplies a pitch, and
upsampling divides it. Two numbers are no pitch: :data:`UNKNOWN` says that it cannot be told, as along channels, and
:data:`CONSTANT` that a value makes no claim, as a weight, or the mean over an axis, does.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import isclose, isfinite, nan
from typing import TypeAlias

Grid: TypeAlias = tuple[float, ...]
Pitch: TypeAlias = tuple[float, ...]

UNKNOWN, CONSTANT = nan, 0.0


def agreed(grids: Iterable[Grid | None]) -> Grid | None:
    """Return the grid of what is computed sample by sample from several values, which are broadcast.

    >>> agreed([(CONSTANT, UNKNOWN, 4.0, 4.0), (4.0, CONSTANT)]), agreed([(2.0,), (4.0,)]), agreed([(2.0,), None])
    ((0.0, nan, 4.0, 4.0), (nan,), None)
    """
    found = list(grids)
    known = [grid[::-1] for grid in found if grid is not None]
    if len(known) < len(found):
        return None
    return tuple(_one(pitches) for pitches in zip_longest(*known, fillvalue=CONSTANT))[::-1]


def _one(pitches: Sequence[float]) -> float:
    claims = [pitch for pitch in pitches if pitch != CONSTANT]
    if not claims:
        return CONSTANT
    return claims[0] if all(isclose(claim, claims[0]) for claim in claims) else UNKNOWN


def strided(grid: Sequence[float], steps: Sequence[float]) -> Grid:
    """Return a grid of which every so many samples remain along each axis; steps below 1 are of upsampling.

    >>> strided((2.0, 4.0, UNKNOWN), (2, 0.5, 2))
    (4.0, 2.0, nan)
    """
    if len(grid) != len(steps):
        return (UNKNOWN,) * len(grid)
    return tuple(
        pitch * step if isfinite(step) and step > 0 else UNKNOWN for pitch, step in zip(grid, steps, strict=True)
    )


def pitch_of(grid: Grid | None) -> Pitch | None:
    """Return the pitch along all axes of a kernel; None where it is not known along one of them.

    >>> pitch_of((4.0, 8.0)), pitch_of((4.0, CONSTANT)), pitch_of((4.0, UNKNOWN)), pitch_of(None)
    ((4.0, 8.0), None, None, None)
    """
    return grid if grid and all(isfinite(pitch) and pitch > 0 for pitch in grid) else None


def same_everywhere(pitches: Iterable[Pitch | None]) -> Pitch | None:
    """Return the pitch of a layer that is used in several places; None where these do not have the same.

    >>> same_everywhere([(4.0, 4.0), (4.0, 4.0)]), same_everywhere([(4.0, 4.0), (8.0, 8.0)]), same_everywhere([])
    ((4.0, 4.0), None, None)
    """
    found = list(pitches)
    if None in found or not found:
        return None
    return pitch_of(agreed(found))
