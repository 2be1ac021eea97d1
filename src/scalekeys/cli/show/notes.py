"""Remarks that several verbs print: notes on a source, what it holds and is not read, and what the controls are."""

from collections.abc import Sequence

from scalekeys.cli.show.cells import Terminal
from scalekeys.filters import LeftOut
from scalekeys.shapes import size_text

CONTROLS = (
    "white noise: random filters with equal means and norms; a fit must exceed theirs\n"
    "matched noise: random filters also as smooth and as wide; only the excess is shape"
)

_MOST = 5


def print_notes(
    console: Terminal, notes: Sequence[str], left_out: Sequence[LeftOut] = (), *, more: str = "", of: str = ""
) -> None:
    """Print notes, and a short list of what is left out.

    Parameters
    ----------
    more : str
        Where all of it is listed.
    of : str
        What the notes are on, where that is one of several.
    """
    for note in notes:
        console.say(f"note: {of and f'{of}: '}{note}")
    if not left_out:
        return
    console.say(f"left out: {len(left_out)} with the shape of a kernel")
    for one in left_out[:_MOST]:
        shape = f" ({size_text(one.shape)})" if one.shape else ""
        console.say(f"  {one.name}{shape}: {one.reason}")
    if len(left_out) > _MOST:
        console.say(f"  and {len(left_out) - _MOST} more, listed {more}")
