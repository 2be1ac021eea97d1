"""``scalekeys check``: what is wrong with the kernels of a network, and what to do about it."""

import json
from typing import Annotated

import typer

from scalekeys.cli.commands.options import Kinds, Size, size_of

EXAMPLE = "Example: scalekeys check model.pth"


def check(
    source: Annotated[
        str,
        typer.Argument(help="A checkpoint file or folder, timm:NAME, hf:NAME or builtin:NAME.", show_default=False),
    ],
    weights: Annotated[
        str | None, typer.Option(help="Which entry of a nested checkpoint to read, for example params_ema.")
    ] = None,
    kinds: Kinds = "depthwise",
    size: Size = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the matched noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say whether kernels are trained, dead, too large, too small or redundant, and what to do about it.

    Each finding says what was found and where, the figure beside that of noise, what to do, what that saves and costs,
    and how sure it is. The most valuable finding comes first. Nothing wrong is an answer, too.
    """
    sides = None if (both := size_of(size)) is None else tuple(dict.fromkeys(both))
    from scalekeys.cli.show.check import print_checkup
    from scalekeys.cli.show.progress import working

    with working() as step:
        from shlex import quote

        from scalekeys.checkup.api import examined
        from scalekeys.checkup.evidence import Evidence
        from scalekeys.cli.work.reading import read_bank
        from scalekeys.fitting import fit

        step(f"reading {source}")
        bank = read_bank(source, weights=weights, kinds=kinds)
        fitted = fit(bank, progress=step("fitting filters", len(bank)))
        step("examining kernels")
        checkup = examined(Evidence(quote(source), fitted, seed, sides=sides))
    if as_json:
        typer.echo(json.dumps(checkup.to_dict(), indent=2))
    else:
        print_checkup(checkup, bank.notes, bank.left_out)
