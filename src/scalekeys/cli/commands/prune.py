"""``scalekeys prune``: the same network without its dead filters."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys prune nets.py:build --checkpoint model.pth --size 224 -o small.onnx"

Output = Annotated[
    Path,
    options.output("The file to write: a state dict (.pth, .pt or .safetensors, for sk.load_pruned), or .onnx."),
]
ImageSource = Annotated[str | None, options.images(": filters with one output for all images are dead too.")]
Limit = Annotated[int | None, options.limit(1)]
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


def prune(
    network: options.Network,
    output: Output,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    images: ImageSource = None,
    limit: Limit = None,
    size: options.Size = None,
    shape: options.Shape = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    multiple_of: MultipleOf = 8,
    tolerance: Tolerance = 1e-5,
    seed: options.Seed = 0,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove dead depthwise filters; the outputs of the network stay the same.

    The outputs of the network before and after are compared, on random inputs and on the images, before the file is
    written. Without a dead filter that can be removed nothing is written, and the exit status is 1.
    """
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    sides = options.shape_of(shape, size, images)
    options.check_paths(network=network, checkpoint=checkpoint, file=output, force=force)
    from scalekeys.cli.show.prune import print_outcome
    from scalekeys.cli.show.result import carry_out
    from scalekeys.cli.work.prune import Task, prune_network

    where = network, checkpoint, weights, output, images, limit
    task = Task(*where, figures(), sides, multiple_of, tolerance, seed, force)
    carry_out(partial(prune_network, task), print_outcome, as_json=as_json)
