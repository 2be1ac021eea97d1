"""What a source holds and is not read, on the terminal."""

from collections.abc import Sequence

from rich.console import Console

from scalekeys.filters import LeftOut

_MOST = 5


def print_notes(console: Console, notes: Sequence[str], left_out: Sequence[LeftOut], *, more: str) -> None:
    """Print notes, and a short list of what is left out in the place of the note on it.

    Parameters
    ----------
    more : str
        Where all of it is listed.
    """
    for note in notes:
        if not (left_out and note.startswith("left out '")):
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if not left_out:
        return
    console.print(f"left out: {len(left_out)} with the shape of a kernel", markup=False, highlight=False)
    for one in left_out[:_MOST]:
        shape = f" ({'x'.join(map(str, one.shape))})" if one.shape else ""
        console.print(f"  {one.name}{shape}: {one.reason}", markup=False, highlight=False, soft_wrap=True)
    if len(left_out) > _MOST:
        console.print(f"  and {len(left_out) - _MOST} more, listed {more}", markup=False, highlight=False)
