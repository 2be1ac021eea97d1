"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from scalekeys.training.network_source import Figures

Kind: TypeAlias = Literal["depthwise", "grouped", "ordinary", "all"]

Kinds = Annotated[
    Kind,
    typer.Option(
        "--kinds",
        help="Which convolutions to read; grouped: several groups, but not depthwise; ordinary: one group.",
    ),
]


def check_paths(
    *sources: str,
    takes_code: bool = False,
    network: str | None = None,
    checkpoint: Path | None = None,
    folder: Path | None = None,
    file: Path | None = None,
    force: bool = False,
) -> None:
    """Refuse what is not there, and an output that is: once wrong usage is told, and before PyTorch is imported.

    An output is also refused where it is one of the sources, or a part of one.

    `sources`: of weights, or with `takes_code` of functions that return a network.
    `network`, `checkpoint`: a network that runs, and weights for it, or for the only one of the sources.
    `folder`, `file`: the output.
    """
    from scalekeys.checkpoints.sources.paths import check_checkpoint, check_network, check_source, code_of
    from scalekeys.files import check_new_file, check_new_folder, check_no_source

    for source in sources:
        check_source(source, takes_code=takes_code)
    if network is not None:
        check_network(network)
    if checkpoint is not None:
        check_checkpoint(str(checkpoint), network or sources[0])
    if folder is not None:
        check_new_folder(folder, force=force)
    if file is not None:
        named = [str(source) for source in (*sources, network, checkpoint) if source is not None]
        check_no_source(file, [code[0] if (code := code_of(source)) else source for source in named])
        check_new_file(file, force=force)


def output(text: str) -> Any:
    """Return the option of where to write, in which ``~`` is the home folder of a user as in a source."""
    return typer.Option("--output", "-o", help=text, callback=_at_home)


def _at_home(path: Path | None) -> Path | None:
    from scalekeys.files import expanded

    return None if path is None else expanded(path)


def images(text: str) -> Any:
    """Return the option of images without labels."""
    return typer.Option("--images", metavar="FOLDER", help=f"Images without labels, or hf:NAME[:SPLIT]{text}")


def limit(least: int) -> Any:
    """Return the option of how many images to use, so many at least."""
    return typer.Option(min=least, help="How many of the images to use, drawn at random.")


Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="timm:NAME, hf:NAME, builtin:NAME, or FILE.py:FUNCTION that returns a network.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="File of weights for the whole network; by default the weights of its name."),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A checkpoint file or folder, timm:NAME, hf:NAME, builtin:NAME or https://SERVER/PATH.", show_default=False
    ),
]
Weights = Annotated[str | None, typer.Option(help="Which entry of a nested checkpoint to take, such as params_ema.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of all that is drawn at random.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output; in a folder, its files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        help='File with the number of each class: JSON {"name": number}, or one name a line, in order of number.'
    ),
]
Size = Annotated[
    str | None, typer.Option(metavar="PIXELS|ROWSxCOLS", help="Size of the images that the network takes.")
]
Shape = Annotated[
    str | None,
    typer.Option(
        metavar="SIZExSIZE", help="Shape of one input, without the batch, if it is no image; such as 1x40x101."
    ),
]
CropPct = Annotated[
    float | None, typer.Option(help="Share of the shorter side of an image that the centre crop keeps.")
]
Mean = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Mean to subtract from channels between 0 and 1: one number, or three."),
]
Std = Annotated[
    str | None, typer.Option(metavar="NUMBERS", help="Standard deviation to divide channels by: one number, or three.")
]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Interpolate = Annotated[Interpolation | None, typer.Option("--interpolation", help="How images are resized.")]
Grey = Annotated[bool, typer.Option("--grey", help="Read images with one channel; with --mean and --std.")]


def figures_of(
    size: str | None,
    crop_pct: float | None,
    mean: str | None,
    std: str | None,
    interpolation: Interpolation | None,
    grey: bool,
) -> "Callable[[], Figures]":
    """Read how images are prepared, where it is said; the result imports PyTorch when it is called."""
    if grey and (mean is None or std is None):
        raise typer.BadParameter("needs --mean and --std, one number each", param_hint="--grey")
    channels = 1 if grey else 3
    numbers = size_of(size), crop_pct, _numbers(mean, "--mean", channels), _numbers(std, "--std", channels)

    def figures() -> "Figures":
        from scalekeys.training.network_source import Figures

        return Figures(*numbers, interpolation)

    return figures


def counts_of(text: str) -> tuple[int, ...]:
    """Read numbers from 1 on with an x between each two; empty where the text is something else."""
    parts = text.lower().split("x")
    return tuple(map(int, parts)) if all(part.isascii() and part.isdigit() and int(part) for part in parts) else ()


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read one side of a square, or rows and columns."""
    if text is None:
        return None
    sides = counts_of(text)
    if len(sides) not in (1, 2):
        raise typer.BadParameter(f"{text!r} is no size like 224 or 192x256", param_hint="--size")
    return sides[0], sides[-1]


def shape_of(text: str | None, size: str | None, images: str | None) -> tuple[int, ...] | None:
    """Read the shape of one input that is no image."""
    if text is None:
        return None
    if size is not None or images is not None:
        raise typer.BadParameter(
            "is for inputs that are no images; leave out --size and --images", param_hint="--shape"
        )
    sides = counts_of(text)
    if not sides:
        raise typer.BadParameter(f"{text!r} is no shape like 3x224x224 or 1x40x101", param_hint="--shape")
    return sides


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


DiscretizationName: TypeAlias = Literal[
    "discrete", "sampled", "normalized-sampled", "integrated", "hybrid-sampled", "hybrid-integrated"
]

DISCRETIZATION_HELP = (
    "How Gaussian derivatives are discretized: differences of the discrete analogue of the Gaussian, samples, "
    "integrals over pixels, or differences of either."
)
