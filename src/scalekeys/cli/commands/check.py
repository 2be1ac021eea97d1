"""``scalekeys check``: what is wrong with the kernels of a network, and what to do about it."""

import json
from typing import Annotated

import typer

from scalekeys.cli.commands import options
from scalekeys.errors import FilterError

EXAMPLE = "Example: scalekeys check model.pth"

_FAILED = 3
"""The exit status where an audit of ``--fail-on`` found something."""

_SHORT = {"dead": "dead-filters", "unformed": "not-formed"}
"""Names for ``--fail-on`` that are quicker to type than those of the audits."""

Source = Annotated[
    str,
    typer.Argument(
        help="A checkpoint file or folder, timm:NAME, hf:NAME, builtin:NAME, or FILE.py:FUNCTION that returns a "
        "network.",
        show_default=False,
    ),
]
Images = Annotated[
    str | None,
    options.images(
        ", for a network that runs: they show the outputs of filters and what following the advice changes."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Images with a folder for each class, or hf:NAME[:SPLIT]: accuracy is measured before and after.",
    ),
]
Limit = Annotated[int, options.limit(20)]
Layers = Annotated[bool, typer.Option("--layers", help="List the layers of each finding with their figures.")]
FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="AUDITS",
        help="Exit with status 3 if one of these audits finds something, for example dead,unformed; the names "
        "that --json prints work too.",
    ),
]


def check(
    source: Source,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    kinds: options.Kinds = "depthwise",
    images: Images = None,
    data: Data = None,
    labels: options.Labels = None,
    limit: Limit = 256,
    size: options.Size = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    seed: options.Seed = 0,
    layers: Layers = False,
    fail_on: FailOn = None,
    as_json: options.AsJson = False,
) -> None:
    """Find dead, untrained, oversized and redundant kernels, and say what to do.

    Each finding says what was found and where, gives its figure beside the same figure for noise, and says what to do,
    what that saves and costs, and how sure the finding is. The most certain finding comes first; there may be none.
    With images, advice that can be followed quickly is followed on a copy, and the change of the outputs is measured.
    """
    if images is not None and data is not None:
        raise typer.BadParameter("is for images without labels; give it or --data", param_hint="--images")
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    sides = None if (both := options.size_of(size)) is None else tuple(dict.fromkeys(both))
    watched = _audits(fail_on)
    options.check_paths(source, takes_code=True, checkpoint=checkpoint)
    from scalekeys.cli.show.check import print_checkup
    from scalekeys.cli.show.progress import working

    with working() as step:
        from scalekeys.cli.work.check import Task, check_network

        where = source, checkpoint, weights, kinds, images, data, labels, limit
        outcome = check_network(Task(*where, figures(), sides, seed), step)
        if missing := sorted(watched - set(outcome.checkup.audits)):
            raise FilterError(f"--fail-on {','.join(missing)}: {'; '.join(outcome.checkup.skipped)}")
    if as_json:
        typer.echo(json.dumps(outcome.checkup.to_dict(), indent=2))
    else:
        print_checkup(outcome.checkup, outcome.notes, outcome.left_out, layers=layers)
    if failed := watched & {advice.name for advice in outcome.checkup.advice}:
        typer.echo(f"scalekeys: --fail-on: found {', '.join(sorted(failed))}", err=True)
        raise typer.Exit(_FAILED)


def _audits(text: str | None) -> set[str]:
    """Read the names of audits, with commas."""
    if text is None:
        return set()
    from scalekeys.checkup.audits import AUDITS

    names = [name.strip() for name in text.split(",")]
    found = {_SHORT.get(name, name) for name in names}
    if unknown := sorted(found - AUDITS.keys()):
        raise typer.BadParameter(
            f"{', '.join(map(repr, unknown))}: no such audit; known are {', '.join([*_SHORT, *AUDITS])}",
            param_hint="--fail-on",
        )
    return found
