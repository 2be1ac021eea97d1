"""A check-up on the terminal."""

from collections.abc import Sequence

from scalekeys.checkup import Advice, Checkup
from scalekeys.cli.show.cells import Terminal, bold, decimal, plain_table, print_whole
from scalekeys.cli.show.notes import print_notes
from scalekeys.filters.bank import LeftOut

_MOST_PLACES = 5


def print_checkup(checkup: Checkup, notes: Sequence[str], left_out: Sequence[LeftOut]) -> None:
    """Print what was found, the most valuable first."""
    console = Terminal()
    print_notes(console, notes, left_out, more="in the report of `scalekeys analyze`")
    layers = "1 layer" if checkup.layers == 1 else f"{checkup.layers} layers"
    console.print(bold(checkup.model) + f": {checkup.filters} filters in {layers}, {len(checkup.audits)} audits")
    for sentence in checkup.skipped:
        console.print(f"note: {sentence}", soft_wrap=True)
    if not checkup.advice:
        console.print("Nothing to do: no audit has found anything.")
    for number, advice in enumerate(checkup.advice, 1):
        _print_advice(console, number, advice)


def _print_advice(console: Terminal, number: int, advice: Advice) -> None:
    console.print()
    console.print(bold(f"{number}. {advice.what}"), soft_wrap=True)
    command = f"\n             {advice.command}" if advice.command else ""
    console.print(
        f"   evidence: {advice.evidence}\n   do:       {advice.action}{command}\n   expect:   {advice.expect} "
        f"({advice.certainty})",
        soft_wrap=True,
    )
    table = plain_table("   layer", "kernel", "filters", "figure", "noise")
    for place in advice.places[:_MOST_PLACES]:
        of = f"{place.filters} of {place.of}"
        table.add_row(f"   {place.layer}", place.size, of, decimal(place.value), decimal(place.control))
    console.print(f"   figure:   {advice.figure}")
    print_whole(console, table)
    if len(advice.places) > _MOST_PLACES:
        console.print(f"   and {len(advice.places) - _MOST_PLACES} more; --json names all")
