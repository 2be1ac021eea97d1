"""Options that several verbs share."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer
from typer.core import TyperCommand

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


_CHECKS = "scalekeys.checks"


class Command(TyperCommand):
    """A verb that refuses what is not there when its options are read, and before what takes time is imported."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Look for what was named, then run the verb."""
        for check in ctx.meta.pop(_CHECKS, ()):
            check()
        return super().invoke(ctx)


def there(context: typer.Context, sources: str | list[str] | None) -> str | list[str] | None:
    """Look for sources of weights."""
    from scalekeys.checkpoints.sources.paths import check_source

    for source in [sources] if isinstance(sources, str) else sources or []:
        _later(context, check_source, source)
    return sources


def some_there(context: typer.Context, sources: list[str]) -> list[str]:
    """Look for one at least of the sources of an atlas."""
    from scalekeys.checkpoints.sources.paths import check_sources

    _later(context, check_sources, sources)
    return sources


def there_or_code(context: typer.Context, source: str) -> str:
    """Look for a source of weights, or for a function that returns a network."""
    from scalekeys.checkpoints.sources.paths import check_source

    _later(context, partial(check_source, takes_code=True), source)
    return source


def network_there(context: typer.Context, network: str | None) -> str | None:
    """Look for a network that runs."""
    from scalekeys.checkpoints.sources.paths import check_network

    if network is not None:
        _later(context, check_network, network)
    return network


def file_there(context: typer.Context, path: Path | None) -> Path | None:
    """Look for the weights of a network that is named before or after them."""
    from scalekeys.checkpoints.sources.paths import check_checkpoint

    if path is not None:

        def check(checkpoint: str) -> None:  # later, when the network is known as well
            check_checkpoint(checkpoint, context.params.get("network") or context.params["source"])

        _later(context, check, str(path))
    return path


def _later(context: typer.Context, check: Callable[[Any], None], value: Any) -> None:
    """Check a value once all options are read, as wrong usage comes first."""
    context.meta.setdefault(_CHECKS, []).append(partial(check, value))


SOURCE_HELP = "A checkpoint file or folder, timm:NAME, hf:NAME, builtin:NAME or https://SERVER/PATH."
Network = Annotated[
    str,
    typer.Argument(
        callback=network_there,
        metavar="NETWORK",
        help="timm:NAME, hf:NAME, builtin:NAME, or FILE.py:FUNCTION that returns a network.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        callback=file_there, help="File of weights for the whole network; by default the weights of its name."
    ),
]
Source = Annotated[str, typer.Argument(callback=there, help=SOURCE_HELP, show_default=False)]
SourceOrCode = Annotated[str, typer.Argument(callback=there_or_code, help=SOURCE_HELP, show_default=False)]
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
) -> "Figures":
    """Read how images are prepared, where it is said."""
    if grey and (mean is None or std is None):
        raise typer.BadParameter("needs --mean and --std, one number each", param_hint="--grey")
    channels = 1 if grey else 3
    numbers = size_of(size), crop_pct, _numbers(mean, "--mean", channels), _numbers(std, "--std", channels)
    from scalekeys.training.network_source import Figures

    return Figures(*numbers, interpolation)


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read one side of a square, or rows and columns."""
    if text is None:
        return None
    rows, x, cols = text.lower().partition("x")
    sides = (rows, cols) if x else (rows, rows)
    if not all(side.isascii() and side.isdigit() and int(side) for side in sides):
        raise typer.BadParameter(f"{text!r} is no size like 224 or 192x256", param_hint="--size")
    return int(sides[0]), int(sides[1])


def shape_of(text: str | None, size: str | None, images: str | None) -> tuple[int, ...] | None:
    """Read the shape of one input that is no image."""
    if text is None:
        return None
    if size is not None or images is not None:
        raise typer.BadParameter(
            "is for inputs that are no images; leave out --size and --images", param_hint="--shape"
        )
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is no shape like 3x224x224 or 1x40x101", param_hint="--shape")
    return tuple(map(int, parts))


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
