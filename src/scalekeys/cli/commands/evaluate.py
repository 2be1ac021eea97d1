"""``scalekeys evaluate``: how many images a network classifies correctly."""

from functools import partial
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys evaluate timm:convnextv2_tiny --data imagenet/val/"

Data = Annotated[
    str, typer.Option(help="A folder with a folder of images for each class, or hf:NAME[:SPLIT].", show_default=False)
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images that go through the network together.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Evaluate on so many images, drawn at random.")]
Recalibrate = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|NUMBER",
        help="First re-estimate batch-norm statistics, on images without labels: a folder, or a number of the images.",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|pretrained",
        help="Checkpoint of the network before it was changed: to compare with, and to match with --recalibrate.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default cuda where there is one.")]


def evaluate(
    network: options.Network,
    data: Data,
    checkpoint: options.Checkpoint = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    batch_size: BatchSize = 64,
    limit: Limit = None,
    recalibrate: Recalibrate = None,
    reference: Reference = None,
    size: options.Size = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    device: Device = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Count how many images of a labelled set a network classifies correctly.

    Images are prepared as timm or transformers prescribe for the network; --size, --mean and the like override that.
    """
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    options.check_paths(network=network, checkpoint=checkpoint)
    from scalekeys.cli.show.evaluate import print_outcome
    from scalekeys.cli.show.result import carry_out
    from scalekeys.cli.work.evaluate import Task, run_evaluation

    device = device or _device()
    sources = network, checkpoint, weights, data, labels, recalibrate, reference
    task = Task(*sources, figures(), batch_size, limit, seed, device)
    carry_out(partial(run_evaluation, task), print_outcome, as_json=as_json)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
