"""What stands above the first section of a page: key figures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """A key figure: what it is, its value, and what to compare it with."""

    label: str
    value: str
    beside: str
