"""``scalekeys crop``: the same network with smaller depthwise kernels."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys crop nets.py:build --checkpoint model.pth --images images/ --size 224 -o small.pth"

Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="timm:NAME, hf:NAME, builtin:NAME, FILE.py:FUNCTION that returns a network, or a file of weights.",
        show_default=False,
    ),
]
Output = Annotated[Path, options.output("The state dict to write: .pth, .pt or .safetensors.")]
Tolerance = Annotated[float, typer.Option(min=0, max=1, help="Share of the energy of a layer that may be cut off.")]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME=SIDES",
        help="Crop only the layers of this name, with * for anything, to sides such as 5 or 5x3; may be repeated.",
    ),
]
Refit = Annotated[
    bool,
    typer.Option(help="Fit the remaining taps to the responses of the whole kernels to natural images, or only cut."),
]
ImageSource = Annotated[str | None, options.images(", on which batch-norm statistics are matched.")]
Limit = Annotated[int, options.limit(2)]


def crop(
    network: Network,
    output: Output,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    tolerance: Tolerance = 0.02,
    layer: Layers = None,
    refit: Refit = True,
    images: ImageSource = None,
    limit: Limit = 256,
    size: options.Size = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    seed: options.Seed = 0,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Crop depthwise kernels whose outer taps hold next to nothing.

    The padding of a layer shrinks with its kernels, so that outputs keep their sizes. The code that builds the network
    has to use the new kernel sizes and paddings before it can load the file; the command lists them.
    """
    sides = dict(map(_sides, layer)) if layer else None
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    options.check_paths(network, takes_code=True, checkpoint=checkpoint, file=output, force=force)
    from scalekeys.cli.show.crop import print_outcome
    from scalekeys.cli.show.result import carry_out
    from scalekeys.cli.work.crop import Task, crop_network

    where = network, checkpoint, weights, output
    task = Task(*where, tolerance, sides, refit, images, limit, figures(), seed, force)
    carry_out(partial(crop_network, task), print_outcome, as_json=as_json)


def _sides(text: str) -> tuple[str, int | tuple[int, ...]]:
    name, _, size = text.rpartition("=")
    sides = options.counts_of(size)
    if not (name and sides):
        raise typer.BadParameter(
            f"{text!r} is no name with sides, like stages.0.dw=5 or stem=5x3", param_hint="--layer"
        )
    return name, sides if len(sides) > 1 else sides[0]
