"""Networks by name: ``timm:NAME``, ``hf:NAME``, or a function of a Python file; and how they want their images."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from scalekeys.checkpoints import load_into
from scalekeys.checkpoints.sources.builtin import CIFAR_CONVNEXT, DENOISER
from scalekeys.checkpoints.sources.hubs import create_timm, not_fetched, weights_only
from scalekeys.checkpoints.sources.paths import FORMS, check_network, code_of
from scalekeys.errors import CheckpointError, ModelError, ScaleKeysError, listed
from scalekeys.images.preparation import MODES, Interpolation, Preparation, Preprocessing, check_size
from scalekeys.optional import in_short, require
from scalekeys.training import denoiser
from scalekeys.training.cifar_convnext import CLASSES, PREPROCESSING, CifarConvNeXt

_BUILTINS: dict[str, tuple[Callable[[], nn.Module], Preprocessing, Path]] = {
    "builtin:denoiser": (denoiser.shipped, denoiser.PREPROCESSING, DENOISER),
    "builtin:cifar-convnext": (lambda: CifarConvNeXt(CLASSES), PREPROCESSING, CIFAR_CONVNEXT),
}
"""The network of each name, how its images are prepared, and its weights."""

_MODULE = "_scalekeys_network_file"
_NO_SIZE = (
    "nothing says how its images are prepared; give at least --size, and --crop-pct, --mean, --std and --interpolation "
    "where they are not 0.875, those of ImageNet and bicubic"
)


@dataclass(frozen=True, eq=False)
class NamedNetwork:
    """A network that was asked for by name."""

    module: nn.Module
    """In evaluation mode."""
    label: str
    """What errors and results call it."""
    processor: Any = None
    """The image processor of transformers that belongs to it."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, in sentences a user should see."""
    preprocessing: Preprocessing | None = None
    """How its images are prepared, where that is known."""


@dataclass(frozen=True)
class Figures:
    """Figures of the preparation of images that are given instead of those of a network; None where they are not."""

    size: tuple[int, int] | None = None
    crop_pct: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size(self.size, 1.0 if self.crop_pct is None else self.crop_pct)

    @property
    def is_grey(self) -> bool:
        """Whether they are of images with one channel."""
        return 1 in (len(self.mean or ()), len(self.std or ()))

    def given(self) -> dict[str, Any]:
        """Return those that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}


def open_network(name: str, *, checkpoint: Path | None = None, weights: str | None = None) -> NamedNetwork:
    """Make a network.

    `name`: ``timm:NAME``; ``hf:NAME``, an image classifier of the hub or in a local folder; ``builtin:cifar-convnext``
    or ``builtin:denoiser``; or ``FILE.py:FUNCTION``, a function that returns a network. If it has a parameter
    ``checkpoint``, it is given the path and loads the weights itself.
    `checkpoint`: weights to load, exactly those of the network; by default those that come with the name.
    `weights`: which of several nested sets of weights in the checkpoint.
    Raises ModelError if the name has none of these forms, or the function fails or returns something else;
    CheckpointError if weights cannot be found, fetched or read, or are those of another network; MissingExtraError if
    timm or transformers is not installed.
    """
    check_network(name)
    scheme, _, rest = name.partition(":")
    processor = preprocessing = None
    if scheme == "timm" and rest:
        module = create_timm(rest, pretrained=checkpoint is None)
    elif scheme == "hf" and rest:
        module, processor = _from_transformers(rest, pretrained=checkpoint is None)
    elif name in _BUILTINS:
        build, preprocessing, shipped = _BUILTINS[name]
        module, checkpoint = build(), checkpoint or shipped
    elif (code := code_of(name)) is not None:
        build = _function(*code)
        if checkpoint is not None and "checkpoint" in inspect.signature(build).parameters:
            if weights is not None:
                raise ModelError(f"{name}: loads its checkpoint itself, which --weights cannot choose from")
            return NamedNetwork(_built(name, build, checkpoint=str(checkpoint)), name)
        module = _built(name, build)
    else:
        raise ModelError(f"{name}: names no network; {FORMS}")
    notes = () if checkpoint is None else load_into(module, checkpoint, weights=weights)
    return NamedNetwork(module.eval(), name, processor, notes, preprocessing)


def preparation_of(network: NamedNetwork, figures: Figures) -> Preparation:
    """Return how the images of a network are prepared: as it says itself, but for the figures that are given.

    Raises ModelError if it says nothing and no size is given, or a figure makes no sense.
    """
    given = figures.given()
    if hasattr(network.module, "pretrained_cfg"):
        return _as_timm_does(network.module, given)
    if network.processor is not None:
        if not given:
            return _as_transformers_do(network.processor)
        return Preprocessing(**(_figures_of(network.processor) | given)).preparation()
    if network.preprocessing is not None:
        return replace(network.preprocessing, **given).preparation()
    if figures.size is None:
        raise ModelError(f"{network.label}: {_NO_SIZE}")
    return Preprocessing(**given).preparation()


def _from_transformers(name: str, *, pretrained: bool) -> tuple[nn.Module, Any]:
    """Return the network and its image processor, or None where it has none."""
    transformers = require("transformers", extra="transformers")
    label = f"hf:{name}"
    local = Path(name).expanduser()
    source, _, revision = (str(local), "", "") if local.is_dir() else name.partition("@")
    options = {"revision": revision} if revision else {}
    try:
        classifier = transformers.AutoModelForImageClassification
        with weights_only():
            module: nn.Module = (
                classifier.from_pretrained(source, **options)
                if pretrained
                else classifier.from_config(transformers.AutoConfig.from_pretrained(source, **options))
            )
    except ImportError as error:
        raise CheckpointError(
            f"{label}: transformers cannot load a network of this kind ({in_short(error)}); check that its own "
            "requirements are installed, and that torchvision fits torch"
        ) from error
    except Exception as error:  # transformers, the hub client and the network have no common class
        raise not_fetched(label, error, "give the folder that holds it instead") from error
    try:
        return module, transformers.AutoImageProcessor.from_pretrained(source, **options)
    except OSError:
        return module, None
    except Exception as error:  # as above
        raise CheckpointError(
            f"{label}: its image processor does not load ({in_short(error)}); check that torchvision fits torch"
        ) from error


def _as_timm_does(module: nn.Module, given: Mapping[str, Any]) -> Preparation:
    data = require("timm.data", extra="timm")
    figures = dict(given)
    if "size" in figures:
        figures["input_size"] = (3, *figures.pop("size"))
    config = data.resolve_data_config(figures, model=module)
    transform, mode = data.create_transform(**config), MODES.get(len(config["mean"]))
    return Preparation(lambda image: transform(image.convert(mode) if mode else image), config)


def _as_transformers_do(processor: Any) -> Preparation:
    def prepare(image: Any) -> Tensor:
        pixels: Tensor = processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return pixels

    names = ("crop_pct", "resample", "image_mean", "image_std")
    figures = {name: getattr(processor, name, None) for name in names}
    for name in ("size", "crop_size"):
        figures[name] = ", ".join(f"{side} {pixels}" for side, pixels in _sides(processor, name).items()) or None
    known = {name: value for name, value in figures.items() if value is not None}
    return Preparation(prepare, {"processor": type(processor).__name__} | known)


def _sides(processor: Any, name: str) -> dict[str, int]:
    """Return the sides that a size of an image processor says."""
    return {side: pixels for side, pixels in dict(getattr(processor, name, None) or {}).items() if pixels}


def _figures_of(processor: Any) -> dict[str, Any]:
    """Return the figures of an image processor of transformers, so that some of them can be replaced."""
    from PIL.Image import Resampling

    size, crop = (_sides(processor, name) for name in ("size", "crop_size"))
    shortest = size.get("shortest_edge")
    target = crop or size
    side = target.get("shortest_edge") or shortest
    rows, cols = (target.get(name) or side for name in ("height", "width"))
    share = getattr(processor, "crop_pct", None) or (min(1.0, rows / shortest) if crop and shortest and rows else 1.0)
    figures = {
        "size": (rows, cols) if rows else None,
        "crop_pct": share,
        "mean": getattr(processor, "image_mean", None),
        "std": getattr(processor, "image_std", None),
        "interpolation": Resampling(getattr(processor, "resample", None) or Resampling.BICUBIC).name.lower(),
    }
    return {name: tuple(value) if isinstance(value, list) else value for name, value in figures.items() if value}


def _function(path: Path, name: str) -> Callable[..., Any]:
    """Import a Python file, as if it were run, and return one of its functions."""
    module = _imported(path)
    function = getattr(module, name, None)
    if not callable(function):
        mine = [value for value in vars(module).values() if getattr(value, "__module__", None) == _MODULE]
        names = dict.fromkeys(value.__name__ for value in mine if inspect.isfunction(value))
        known = [repr(key) for key in names if not key.startswith("_")]
        raise ModelError(f"{path}: has no function {name!r}; it has {listed(known) or 'none'}")
    return function  # type: ignore[no-any-return]


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{path}: cannot be imported ({in_short(error)}{_line_in(path, error)})") from error
    finally:
        sys.path.pop(0)
    return module


def _built(label: str, build: Callable[..., Any], **options: Any) -> nn.Module:
    try:
        module = build(**options)
    except ScaleKeysError:
        raise
    except (Exception, SystemExit) as error:
        path = Path(inspect.getsourcefile(build) or "")
        raise ModelError(f"{label}: failed ({in_short(error)}{_line_in(path, error)})") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{label}: returns a {type(module).__name__}, not an nn.Module")
    return module.eval()


def _line_in(path: Path, error: BaseException) -> str:
    """Return the last line of a file that an error passed, as a clause; empty if none is known."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    return f", line {line}" if line else ""
