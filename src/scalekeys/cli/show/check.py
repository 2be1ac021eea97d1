"""A check-up on the terminal."""

from collections.abc import Sequence

from scalekeys.checkup import Advice, Checkup
from scalekeys.checkup.naming import to_fill_in
from scalekeys.cli.show.cells import Terminal, bold, decimal, plain_table, print_whole
from scalekeys.cli.show.notes import print_notes
from scalekeys.errors import counted
from scalekeys.filters.bank import LeftOut


def print_checkup(checkup: Checkup, notes: Sequence[str], left_out: Sequence[LeftOut], *, layers: bool = False) -> None:
    """Print what was found, the most certain first; its layers with their figures only on request."""
    console = Terminal()
    filters = f"{counted(checkup.filters, 'filter')} in {counted(checkup.layers, 'layer')}"
    console.say(bold(checkup.model) + f": {filters}, {len(checkup.audits)} audits")
    console.say(checkup.verdict)
    print_notes(console, (*notes, *checkup.skipped), left_out, more="in the report of `scalekeys analyze`")
    for number, advice in enumerate(checkup.advice, 1):
        _print_advice(console, number, advice)
        if layers:
            _print_places(console, advice)
    if checkup.advice:
        told = checkup.legend, to_fill_in(advice.command for advice in checkup.advice)
        console.say("\n" + " ".join(filter(None, told)))


def _print_advice(console: Terminal, number: int, advice: Advice) -> None:
    console.print()
    console.say(bold(f"{number}. {advice.what}"))
    command = f"\n             {advice.command}" if advice.command else ""
    measured = f"\n   measured: {advice.followed.told}" if advice.followed else ""
    console.say(
        f"   evidence: {advice.evidence}\n   do:       {advice.action}{command}\n   expect:   {advice.expect} "
        f"({advice.certainty}){measured}"
    )


def _print_places(console: Terminal, advice: Advice) -> None:
    table = plain_table("   layer", "kernel", "filters", "figure", "noise")
    for place in advice.places:
        of = f"{place.filters} of {place.of}"
        table.add_row(f"   {place.layer}", place.size, of, decimal(place.value), decimal(place.control))
    console.say(f"   figure:   {advice.figure}")
    print_whole(console, table)
