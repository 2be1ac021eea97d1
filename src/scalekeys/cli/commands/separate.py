"""``scalekeys separate``: the same network with depthwise layers that are computed axis by axis."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys separate nets.py:build --checkpoint model.pth --images images/ --size 224 -o fast.onnx"

Output = Annotated[
    Path,
    options.output("The file to write: .onnx, or a state dict (.pth, .pt or .safetensors, for sk.load_separated)."),
]
Rank = Annotated[int | None, typer.Option(min=1, help="Number of outer products for each kernel.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="As few outer products as lose no more than this share of the variance of the responses of a layer, or, "
        "without images, of the energy of its kernels; by default 0.01.",
    ),
]
Accuracy = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="POINTS", help="As few outer products as possible without losing more points of top-1 on --data."
    ),
]
Share = Annotated[
    float | None, typer.Option("--time", help="As many outer products as fit into this share of the present time.")
]
Runtime = Annotated[
    Literal["onnxruntime", "torch", "compile"] | None,
    typer.Option(help="Runtime in which the network will run; by default onnxruntime for .onnx, otherwise torch."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="NAME", help="Only the layers of this name, with * for anything; may be repeated."),
]
ImageSource = Annotated[str | None, options.images(", on which outer products and statistics are matched.")]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER", help="Images with labels, in place of --images: a folder for each class."),
]
Limit = Annotated[int, options.limit(2)]
Batch = Annotated[int, typer.Option("--batch-size", min=1, help="Inputs that go through the timed network together.")]


def separate(
    network: options.Network,
    output: Output,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    rank: Rank = None,
    tolerance: Tolerance = None,
    accuracy: Accuracy = None,
    time: Share = None,
    runtime: Runtime = None,
    layer: Layers = None,
    images: ImageSource = None,
    data: Data = None,
    labels: options.Labels = None,
    limit: Limit = 256,
    size: options.Size = None,
    shape: options.Shape = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    batch_size: Batch = 1,
    seed: options.Seed = 0,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Run large depthwise kernels one axis at a time, where that is faster.

    A kernel becomes a sum of outer products of kernels of one axis. Layers and the whole network are timed in the
    runtime of the output, on one thread of this machine; a layer that is not faster stays as it is.
    """
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    goals = {"--rank": rank, "--tolerance": tolerance, "--accuracy": accuracy, "--time": time}
    given = [name for name, value in goals.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("only one of these may be given", param_hint=" and ".join(given))
    if images is not None and data is not None:
        raise typer.BadParameter("only one of these may be given", param_hint="--images and --data")
    if accuracy is not None and data is None:
        raise typer.BadParameter("needs images with labels; give --data", param_hint="--accuracy")
    sides = options.shape_of(shape, size, images or data)
    options.check_paths(network=network, checkpoint=checkpoint, file=output, force=force)
    from scalekeys.cli.show.result import carry_out
    from scalekeys.cli.show.separate import print_outcome
    from scalekeys.cli.work.separate import Task, separate_network

    goal = {name.removeprefix("--"): goals[name] for name in given}
    where = network, checkpoint, weights, output, goal, runtime, layer
    inputs = images or data, labels if data else None, data is not None, limit
    task = Task(*where, *inputs, figures(), sides, batch_size, seed, force)
    carry_out(partial(separate_network, task), print_outcome, as_json=as_json)
