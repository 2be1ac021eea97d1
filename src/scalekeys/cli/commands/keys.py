"""``scalekeys keys``: the few filters behind the many of one network or more."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalekeys.cli.commands.options import Kinds

EXAMPLE = "Example: scalekeys keys model.pth other.safetensors -k 8 -o keys/"

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE", help="Checkpoint files or folders, timm:NAME, hf:NAME or builtin:NAME.", show_default=False
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for report, keys and members.", show_default=False)
]
Number = Annotated[str, typer.Option("-k", metavar="NUMBER|auto", help="How many keys; auto takes the recommended.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the search, and of white and matched noise.")]
Restarts = Annotated[int, typer.Option(min=1, help="How many starts compete.")]
Weighting = Annotated[
    Literal["equal", "energy"], typer.Option(help="Whether all filters count alike, or strong ones more.")
]
Symmetry = Annotated[
    Literal["none", "dihedral"], typer.Option(help="With dihedral, turned and mirrored filters share a key.")
]
Sizes = Annotated[
    str,
    typer.Option(
        metavar="largest|common|SIZE",
        help="Pad all kernels to the largest, crop them to what all have, or take those of one size: 7x7, 31, 5x3x3.",
    ),
]
Axes = Annotated[
    int | None,
    typer.Option(
        min=1, max=3, help="How many axes the kernels have; by default as many as most of them.", show_default=False
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Take the layers of this name, with * for anything; may be repeated."),
]
Weights = Annotated[str | None, typer.Option(help="Which entry of nested checkpoints to read, for example params_ema.")]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="Correlation with its key that makes a filter covered.")]
NoCurve = Annotated[bool, typer.Option("--no-curve", help="Do not compare numbers of keys, which takes a minute.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the files in an existing output folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


_WHOLE: dict[str, Literal["largest", "common"]] = {"largest": "largest", "common": "common"}


def keys(
    sources: Sources,
    output: Output,
    number: Number = "8",
    seed: Seed = 0,
    restarts: Restarts = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    axes: Axes = None,
    layers: Layers = None,
    weights: Weights = None,
    kinds: Kinds = "depthwise",
    threshold: Threshold = 0.8,
    no_curve: NoCurve = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the few filters, the keys, of which the filters of networks are copies up to a factor and an offset.

    Writes OUTPUT/report.html (one self-contained page), keys.npy and keys.csv, and members.parquet (one row a filter).
    """
    k, wanted = _number_of_keys(number, compared=not no_curve), _sizes(sizes)
    from scalekeys.cli.show.keys import print_keys
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.work.keys import Search, find_keys, read_banks
    from scalekeys.files import check_new_folder, new_folder

    check_new_folder(output, force=force)
    search = Search(seed, restarts, weighting, symmetry, wanted, axes, layers or None)
    with working() as step:
        banks = read_banks(sources, weights=weights, kinds=kinds, step=step)
        with new_folder(output, force=force) as folder:
            summary = find_keys(banks, folder, k=k, search=search, threshold=threshold, curve=not no_curve, step=step)
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    else:
        print_keys(summary, output)


def _number_of_keys(text: str, *, compared: bool) -> int | None:
    """Read a number of keys; None stands for the recommended one."""
    if text == "auto":
        if not compared:
            raise typer.BadParameter("auto compares numbers of keys, so it cannot go with --no-curve", param_hint="-k")
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise typer.BadParameter(f"{text!r} is neither a number from 1 nor auto", param_hint="-k")
    return int(text)


def _sizes(text: str) -> Literal["largest", "common"] | tuple[int, ...]:
    """Read how kernels of several sizes are compared."""
    if text in _WHOLE:
        return _WHOLE[text]
    sides = text.lower().split("x")
    if not (len(sides) <= 3 and all(side.isascii() and side.isdigit() and int(side) for side in sides)):
        raise typer.BadParameter(f"{text!r} is none of largest, common and a size like 7x7 or 31", param_hint="--sizes")
    return tuple(map(int, sides))
