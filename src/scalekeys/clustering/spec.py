"""How filters are clustered, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from scalekeys.errors import ModelError, check_choice
from scalekeys.shapes import Size, axes_text

Weighting: TypeAlias = Literal["equal", "energy"]
Symmetry: TypeAlias = Literal["none", "dihedral"]
Sizes: TypeAlias = Literal["largest", "common"] | Size

WEIGHTINGS: tuple[Weighting, ...] = ("equal", "energy")
SYMMETRIES: tuple[Symmetry, ...] = ("none", "dihedral")

MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ClusterSpec:
    """What :func:`scalekeys.cluster` was asked for."""

    k: int = 8
    """Number of keys."""
    seed: int = 0
    restarts: int = 10
    weighting: Weighting = "equal"
    symmetry: Symmetry = "none"
    sizes: Sizes = "largest"
    layers: tuple[str, ...] | None = None
    """Patterns of layer names."""
    axes: int | None = None
    """How many axes the kernels have; None for those that most filters have."""
    batch_size: int | None = None
    """Filters at a time, where filters are read anew in each pass; None keeps them in memory."""


def parse_spec(
    k: int,
    *,
    seed: int = 0,
    restarts: int = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    axes: int | None = None,
    batch_size: int | None = None,
) -> ClusterSpec:
    """Return what was asked for, checked.

    Raises
    ------
    ModelError
        If an option is unknown or a number too small; the message lists what is allowed.
    """
    check_choice("weighting", weighting, WEIGHTINGS)
    check_choice("symmetry", symmetry, SYMMETRIES)
    batch = 1 if batch_size is None else batch_size
    for name, number, least in (("k", k, 1), ("seed", seed, 0), ("restarts", restarts, 1), ("batch_size", batch, 1)):
        if not _is_whole(number, least):
            raise ModelError(f"{name} must be a whole number of at least {least}, got {number!r}")
    if seed > MOST_SEED:
        raise ModelError(f"seed must be at most {MOST_SEED}, got {seed!r}")
    patterns = (layers,) if isinstance(layers, str) else None if layers is None else tuple(layers)
    parsed = _parsed_sizes(sizes)
    return ClusterSpec(
        k=int(k),
        seed=int(seed),
        restarts=int(restarts),
        weighting=weighting,
        symmetry=symmetry,
        sizes=parsed,
        layers=patterns,
        axes=_parsed_axes(axes, parsed),
        batch_size=batch_size,
    )


def _is_whole(number: Any, least: int) -> bool:
    is_whole = isinstance(number, Integral) or (isinstance(number, Real) and float(number).is_integer())
    return is_whole and bool(number >= least)


def _parsed_sizes(sizes: Sizes) -> Sizes:
    if isinstance(sizes, str):
        if sizes not in ("largest", "common"):
            raise ModelError(f"unknown sizes {sizes!r}; choose largest, common or a size such as (7, 7)")
        return sizes
    size: tuple[int, ...] = tuple(sizes) if isinstance(sizes, tuple | list) else ()
    if not 1 <= len(size) <= 3 or not all(_is_whole(number, 1) for number in size):
        raise ModelError(f"sizes must be largest, common or a size such as (7, 7), got {sizes!r}")
    return tuple(map(int, size))


def _parsed_axes(axes: int | None, sizes: Sizes) -> int | None:
    """Return how many axes the kernels have, which a size tells too."""
    if axes not in (None, 1, 2, 3):
        raise ModelError(f"axes must be 1, 2 or 3, got {axes!r}")
    if isinstance(sizes, str):
        return axes
    if axes not in (None, len(sizes)):
        raise ModelError(f"sizes={sizes!r} has {axes_text(len(sizes))}, and axes is {axes}; give one of them")
    return len(sizes)
