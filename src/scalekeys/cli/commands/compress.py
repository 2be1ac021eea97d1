"""``scalekeys compress``: the same network with depthwise filters of fewer numbers."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = (
    "Example: scalekeys compress nets.py:build --checkpoint model.pth --data val/ --size 224 --budget 0.3 -o small.pth"
)

Output = Annotated[Path, options.output("The file to write: .pth, .pt or .safetensors, or .onnx.")]
Data = Annotated[
    str,
    typer.Option(
        help="Images: a folder with a folder for each class, or hf:NAME[:SPLIT]: half of them are learned from, and "
        "accuracy is measured on the others; or a folder of images without classes, all of which are learned from.",
        show_default=False,
    ),
]
Budget = Annotated[
    float | None, typer.Option(help="How many numbers may describe the filters, as a share of their parameters.")
]
Tolerance = Annotated[
    float | None,
    typer.Option(help="In place of a budget: points of top-1 that may be lost, on the images that are learned from."),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="Let this model compete; may be repeated.  [default: twelve]"),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", metavar="PATTERN", help="Compress the layers of this name, with * for anything; may be repeated."
    ),
]
Limit = Annotated[int | None, options.limit(1)]


def compress(
    network: options.Network,
    output: Output,
    data: Data,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    budget: Budget = None,
    tolerance: Tolerance = None,
    model: Models = None,
    layer: Layers = None,
    labels: options.Labels = None,
    limit: Limit = 500,
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
    """Describe depthwise filters by fewer numbers, within a budget or a tolerance.

    Several models compete for each filter; a filter gets the model that saves most for what it costs. A run that was
    interrupted continues where it stopped when the same command is given again: finished models are kept in a file
    beside the output until the output is written.
    """
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    options.check_paths(network=network, checkpoint=checkpoint, file=output, force=force)
    from scalekeys.cli.show.compress import print_outcome
    from scalekeys.cli.show.result import carry_out
    from scalekeys.cli.work.compress import Task, compress_network
    from scalekeys.cli.work.learning_images import Data as LearningData

    images = LearningData(data, labels, limit, figures(), seed)
    task = Task(network, checkpoint, weights, output, images, budget, tolerance, model or None, layer or None, force)
    carry_out(partial(compress_network, task), print_outcome, as_json=as_json)
