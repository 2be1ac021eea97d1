"""What stands above the first section of a page: key figures, and remarks to read first."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Tile:
    """A key figure: what it is, its value, and what to compare it with."""

    label: str
    value: str
    beside: str


@dataclass(frozen=True)
class Caution:
    """A remark above the figures: a few words to scan, and a sentence or two.

    A text of ours is markup already; a text from elsewhere is plain and will be escaped.
    """

    head: str
    text: Markup | str
