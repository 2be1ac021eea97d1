"""``scalekeys evaluate``: how many images a network classifies correctly."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands.options import CropPct, Grey, Interpolate, Labels, Mean, Size, Std, figures_of

EXAMPLE = "Example: scalekeys evaluate timm:convnextv2_tiny --data imagenet/val/"

Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="timm:NAME, hf:NAME, builtin:cifar-convnext, or FILE.py:FUNCTION that returns a network.",
        show_default=False,
    ),
]
Data = Annotated[
    str, typer.Option(help="A folder with a folder of images for each class, or hf:NAME[:SPLIT].", show_default=False)
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="File of weights for the whole network; by default the weights of its name.")
]
Weights = Annotated[
    str | None, typer.Option(help="Which entry of a nested checkpoint to load, for example params_ema.")
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
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random choice of images.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def evaluate(
    network: Network,
    data: Data,
    checkpoint: Checkpoint = None,
    weights: Weights = None,
    labels: Labels = None,
    batch_size: BatchSize = 64,
    limit: Limit = None,
    recalibrate: Recalibrate = None,
    reference: Reference = None,
    size: Size = None,
    crop_pct: CropPct = None,
    mean: Mean = None,
    std: Std = None,
    interpolation: Interpolate = None,
    grey: Grey = False,
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Count how many images of a labelled set a network classifies correctly.

    Images are prepared as timm or transformers prescribe for the network; --size, --mean and the like override that.
    """
    figures = figures_of(size, crop_pct, mean, std, interpolation, channels=1 if grey else 3)
    from scalekeys.cli.show.evaluate import print_outcome
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.work.evaluate import Task, run_evaluation

    device = device or _device()
    sources = network, checkpoint, weights, data, labels, recalibrate, reference
    task = Task(*sources, figures, batch_size, limit, seed, device)
    with working() as step:
        outcome = run_evaluation(task, step)
    if as_json:
        typer.echo(json.dumps(outcome.to_dict(), indent=2))
    else:
        print_outcome(outcome)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
