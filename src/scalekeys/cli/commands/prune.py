"""``scalekeys prune``: the same network without its dead filters."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands.evaluate import Checkpoint, Network, Weights
from scalekeys.cli.commands.options import (
    CropPct,
    Grey,
    Interpolate,
    Mean,
    Shape,
    Size,
    Std,
    figures_of,
    shape_of,
)

EXAMPLE = "Example: scalekeys prune nets.py:build --checkpoint model.pth --size 224 -o small.onnx"

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="The file to write: a state dict (.pth, .pt or .safetensors, for sk.load_pruned), or .onnx.",
        show_default=False,
    ),
]
ImageSource = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        help="Images without labels, or hf:NAME[:SPLIT]: filters with one output for all images are dead too.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many of the images to use, drawn at random.")]
MultipleOf = Annotated[
    int,
    typer.Option(
        min=1,
        help="Keep some dead channels, so that a layer whose width is a multiple of this number stays one.",
    ),
]
Tolerance = Annotated[
    float, typer.Option(min=0, help="Largest difference of outputs that is accepted, as a share of the largest output.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Seed of random inputs and of the random choice of images.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def prune(
    network: Network,
    output: Output,
    checkpoint: Checkpoint = None,
    weights: Weights = None,
    images: ImageSource = None,
    limit: Limit = None,
    size: Size = None,
    shape: Shape = None,
    crop_pct: CropPct = None,
    mean: Mean = None,
    std: Std = None,
    interpolation: Interpolate = None,
    grey: Grey = False,
    multiple_of: MultipleOf = 8,
    tolerance: Tolerance = 1e-5,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Remove dead depthwise filters; the outputs of the network stay the same.

    The outputs of the network before and after are compared, on random inputs and on the images, before the file is
    written.
    """
    figures = figures_of(size, crop_pct, mean, std, interpolation, channels=1 if grey else 3)
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.prune import print_outcome
    from scalekeys.cli.work.prune import Task, prune_network

    where = network, checkpoint, weights, output, images, limit
    task = Task(*where, figures, shape_of(shape, size, images), multiple_of, tolerance, seed, force)
    with working() as step:
        outcome = prune_network(task, step)
    if as_json:
        typer.echo(json.dumps(outcome.to_dict(), indent=2))
    else:
        print_outcome(outcome)
