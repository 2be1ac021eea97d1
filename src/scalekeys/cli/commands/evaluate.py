"""``scalekeys evaluate``: how many images a network classifies correctly."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from scalekeys.training.network_source import Figures

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
    Path | None, typer.Option(help="Weights to load, all that the network has; by default those of its name.")
]
Weights = Annotated[
    str | None, typer.Option(help="Which entry of a nested checkpoint to load, for example params_ema.")
]
Labels = Annotated[
    Path | None,
    typer.Option(help='The number of each class: JSON {"name": number}, or a name on each line in their order.'),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images that go through the network together.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Evaluate on so many images, drawn at random.")]
Recalibrate = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|NUMBER",
        help="First take statistics anew, on images without labels: of a folder, or so many of the data.",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|pretrained",
        help="Checkpoint of the network before it was changed: to compare with, and to match it if recalibrated.",
    ),
]
Size = Annotated[str | None, typer.Option(metavar="PIXELS|ROWSxCOLS", help="Size of images for the network.")]
CropPct = Annotated[float | None, typer.Option(help="Share of the shorter side that is kept.")]
Mean = Annotated[str | None, typer.Option(metavar="NUMBERS", help="Subtracted from channels in 0..1; one or three.")]
Std = Annotated[str | None, typer.Option(metavar="NUMBERS", help="What channels are divided by; one or three.")]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Interpolate = Annotated[Interpolation | None, typer.Option("--interpolation", help="How images are resized.")]
Grey = Annotated[bool, typer.Option("--grey", help="Images of one channel.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default cuda where there is one.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of images drawn at random.")]
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

    Images are prepared as the network says itself (timm, transformers); with --size and its like as they say.
    """
    figures = _figures(size, crop_pct, mean, std, interpolation, channels=1 if grey else 3)
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


def _figures(
    size: str | None,
    crop_pct: float | None,
    mean: str | None,
    std: str | None,
    interpolation: Interpolation | None,
    *,
    channels: int,
) -> "Figures":
    numbers = _size(size), crop_pct, _numbers(mean, "--mean", channels), _numbers(std, "--std", channels)
    from scalekeys.training.network_source import Figures

    return Figures(*numbers, interpolation)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _size(text: str | None) -> tuple[int, int] | None:
    """Read one side of a square, or rows and columns."""
    if text is None:
        return None
    rows, x, cols = text.lower().partition("x")
    sides = (rows, cols) if x else (rows, rows)
    if not all(side.isascii() and side.isdigit() and int(side) for side in sides):
        raise typer.BadParameter(f"{text!r} is no size like 224 or 192x256", param_hint="--size")
    return int(sides[0]), int(sides[1])


def _numbers(text: str | None, option: str, channels: int) -> tuple[float, ...] | None:
    """Read one number for each channel, or one for all."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        values = ()
    if len(values) not in (1, channels):
        raise typer.BadParameter(f"{text!r} is no number, nor {channels} with commas", param_hint=option)
    return values if len(values) == channels else values * channels
