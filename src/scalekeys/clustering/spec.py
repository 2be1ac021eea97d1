"""How filters are clustered, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scalekeys.errors import ModelError

Weighting: TypeAlias = Literal["equal", "energy"]
Symmetry: TypeAlias = Literal["none", "dihedral"]
Sizes: TypeAlias = Literal["largest", "common"] | tuple[int, int]

WEIGHTINGS: tuple[Weighting, ...] = ("equal", "energy")
SYMMETRIES: tuple[Symmetry, ...] = ("none", "dihedral")


@dataclass(frozen=True)
class ClusterSpec:
    """What :func:`scalekeys.cluster` was asked for.

    Parameters
    ----------
    k : int
        Number of keys.
    seed, restarts : int
    weighting : {"equal", "energy"}
    symmetry : {"none", "dihedral"}
    sizes : {"largest", "common"} or (rows, cols)
    layers : tuple of str or None
        Patterns of layer names.
    batch_size : int or None
        Filters at a time, where filters are read anew in each pass; None keeps them in memory.
    """

    k: int = 8
    seed: int = 0
    restarts: int = 10
    weighting: Weighting = "equal"
    symmetry: Symmetry = "none"
    sizes: Sizes = "largest"
    layers: tuple[str, ...] | None = None
    batch_size: int | None = None


def parse_spec(
    k: int,
    *,
    seed: int = 0,
    restarts: int = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    layers: Sequence[str] | str | None = None,
    batch_size: int | None = None,
) -> ClusterSpec:
    """Return what was asked for, checked.

    Raises
    ------
    ModelError
        If an option is unknown or a number too small; the message lists what is allowed.
    """
    for name, value, allowed in (("weighting", weighting, WEIGHTINGS), ("symmetry", symmetry, SYMMETRIES)):
        if value not in allowed:
            raise ModelError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")
    batch = 1 if batch_size is None else batch_size
    for name, number, least in (("k", k, 1), ("seed", seed, 0), ("restarts", restarts, 1), ("batch_size", batch, 1)):
        if number != int(number) or number < least:
            raise ModelError(f"{name} must be a whole number of at least {least}, got {number}")
    patterns = (layers,) if isinstance(layers, str) else None if layers is None else tuple(layers)
    return ClusterSpec(
        int(k), int(seed), int(restarts), weighting, symmetry, _parsed_sizes(sizes), patterns, batch_size
    )


def _parsed_sizes(sizes: Sizes) -> Sizes:
    if isinstance(sizes, str):
        if sizes not in ("largest", "common"):
            raise ModelError(f"unknown sizes {sizes!r}; choose largest, common or a size such as (7, 7)")
        return sizes
    size: tuple[int, ...] = tuple(sizes) if isinstance(sizes, tuple | list) else ()
    if len(size) != 2 or any(number != int(number) or number < 1 for number in size):
        raise ModelError(f"sizes must be largest, common or a size such as (7, 7), got {sizes!r}")
    return int(size[0]), int(size[1])
