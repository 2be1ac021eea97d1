"""Recipes: all settings of a training in one YAML file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scalekeys.errors import RecipeError, shortened
from scalekeys.files import new_file, read_text
from scalekeys.images.preparation import IMAGENET_MEAN, IMAGENET_STD
from scalekeys.networks.constrained.learned_scales import ScaleKind
from scalekeys.networks.constrained.parameter_layout import Tie
from scalekeys.networks.constrained.scale_space_kernel import Learn
from scalekeys.optional import require
from scalekeys.scalespace import STRENGTH_MAX
from scalekeys.training.settings import merged, plain, settings_of, shown, with_override
from scalekeys.training.yaml_text import parse_yaml


@dataclass(frozen=True)
class Data:
    """The images.

    Parameters
    ----------
    source : str
        A folder with a folder of images for each class under `train` and `test`; CIFAR-10 as the folder of its binary
        version or packed in an ``.npz`` file of JPEG images; a data set that ``datasets`` saved; or ``hf:NAME``.
    size : int
        Side of the images that the network sees, in pixels.
    train, test : str
        Names of the two parts; not needed for CIFAR-10.
    train_images, test_images : int, optional
        Use only so many images, drawn by the seed.
    detail : int, optional
        Side, in pixels, to which images are reduced before they are enlarged to `size`, so that they hold no finer
        detail. Requires images in memory.
    in_memory : bool
        Decode all images once and keep them in memory. CIFAR-10 is always kept in memory.
    workers : int
        Number of processes that decode images, for each process that trains.
    mean, std : three numbers
        Mean and standard deviation of red, green and blue, from 0 to 1.
    image, label : str
        Columns of a data set of ``datasets``.
    """

    source: str
    size: int = 224
    train: str = "train"
    test: str = "val"
    train_images: int | None = None
    test_images: int | None = None
    detail: int | None = None
    in_memory: bool = False
    workers: int = 0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    image: str = "image"
    label: str = "label"


@dataclass(frozen=True)
class Network:
    """The network.

    Parameters
    ----------
    name : str
        ``cifar-convnext``, ``timm:NAME`` or ``hf:NAME``.
    widths, depths, kernel, patch
        For ``cifar-convnext``: channels and blocks of each stage, the side of its depthwise kernels, and the side of
        the patches of pixels that become the first positions.
    drop_path : float
        Share of images for which a residual block is left out, in the last block; it grows with depth from 0.
    pretrained : bool
        Whether to start from the weights of the hub, or the weights that come with the package.
    checkpoint : str, optional
        A file of weights, or a folder of an earlier training, to start from.
    weights : str, optional
        The entry of a nested checkpoint to read.
    """

    name: str = "cifar-convnext"
    widths: tuple[int, ...] = (48, 96)
    depths: tuple[int, ...] = (2, 4)
    kernel: int = 7
    patch: int = 2
    drop_path: float = 0.0
    pretrained: bool = False
    checkpoint: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Depthwise:
    """The depthwise filters, and which of their parameters are learned.

    Parameters
    ----------
    filters : str
        ``as-is``: as the network has them. ``torch-default``: uniform numbers, as ``torch.nn.Conv2d`` initialises its
        weights. ``truncated-normal``: as timm does, with standard deviation 0.02. ``noise``: white noise.
        ``matched-noise``: see `covariance_from`. ``keys``: the eight published keys. ``method:A``, ``B``, ``C1``,
        ``C2``, ``D1`` or ``D2``: the eight templates with the scales of one of the paper's methods
        (:func:`scalekeys.paper.method_templates`). Otherwise a model of :func:`scalekeys.fit`: ``ideal8``, a jet, or
        families with commas between them.
    assignment : {"random", "nearest"}
        Whether each channel gets one of the filters by the seed, or the one that is nearest to its present filter, as
        found by :func:`scalekeys.assign_keys` and :func:`scalekeys.fit`.
    learn : str
        ``all``: each weight. ``none``: nothing. ``offsets``: one additive constant for each filter. Otherwise the
        parameters of :func:`scalekeys.constrain`: ``scales``, ``amplitudes``, ``scales+amplitudes``, ``coefficients``,
        ``scales+coefficients``; a key, and a template of a method, is then replaced by its family.
    tie, scale
        See :func:`scalekeys.constrain`.
    sigma : float
        The initial scale of randomly assigned filters, in pixels.
    start : float, optional
        The initial value of learned scales, in pixels; by default the scales of the filters. The filters keep their
        norms.
    alpha : float, optional
        The strength of `sharpen` where scales are learned; by default the fitted strength. The filters keep their
        norms.
    norm : float or "unit"
        A number: the initial l2 norm of noise and of randomly assigned filters; the filters of an initialisation keep
        their norms. ``unit``: with learned scales each filter is the template of its family, normalised to norm 1 at
        every scale, without amplitude and offset; see :func:`scalekeys.constrain`.
    weight_decay : float, optional
        Weight decay of depthwise weights; by default that of the other weights.
    parameter_decay : float
        Weight decay of the parameters of depthwise weights: scales, amplitudes, coefficients, offsets.
    covariance_from : str
        The filters that matched noise imitates (:func:`scalekeys.matched_noise_like`): filters of a model that are
        drawn at random; or the filters of a trained network, whose depthwise layers have the same shapes: a file, the
        folder of a training, or another source of :func:`scalekeys.extract`.
    change : {"none", "rotated", "shuffled"}
        A change of each filter that is drawn: it is rotated by a random angle, or its taps are permuted at random.
    chosen_from : str, optional
        A trained network whose filters determine the nearest filters, instead of the filters of this network: a file,
        the folder of a training, or another source of :func:`scalekeys.extract`. The result for a filter, with its
        factor and its offset, is used in the same channel of the layer with the same name.
    layers : {"plain", "scale-space"}
        ``plain``: the layers of the network. ``scale-space``: layers of :mod:`scalekeys.nn` in their place, with the
        same sides and strides, whose families are those of `filters`: a jet, ``ideal8``, or families with commas
        between them, which are repeated over the channels. `learn` is then ``scales+coefficients`` or ``coefficients``,
        and `tie` and `start` apply; without `start`, scales are drawn.
    """

    filters: str = "as-is"
    assignment: Literal["random", "nearest"] = "random"
    learn: Literal["all", "offsets", Learn] = "all"
    tie: Tie = "none"
    scale: ScaleKind = "log"
    sigma: float = 1.0
    start: float | None = None
    alpha: float | None = None
    norm: float | Literal["unit"] = 1.0
    weight_decay: float | None = None
    parameter_decay: float = 0.0
    covariance_from: str = "ideal8"
    change: Literal["none", "rotated", "shuffled"] = "none"
    chosen_from: str | None = None
    layers: Literal["plain", "scale-space"] = "plain"


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of training images.

    Parameters
    ----------
    crop : {"none", "shift", "resized"}
        ``shift``: a shift by up to `pad` pixels in each direction, filled with zeros. ``resized``: a part of random
        area, at least `least_area`, and random aspect ratio, resized.
    pad : int
    least_area : float
    flip : float
        Probability of a horizontal flip.
    erasing : float
        Probability that a random rectangle becomes noise.
    mixup, cutmix : float
        Parameter of the beta distribution of the share of the other image of a pair, 0 for none; with both, one of the
        two is applied to each pair.
    label_smoothing : float
    """

    crop: Literal["none", "shift", "resized"] = "shift"
    pad: int = 4
    least_area: float = 0.08
    flip: float = 0.5
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class Optimizer:
    """AdamW, with a learning rate that rises linearly and then follows half a cosine.

    Parameters
    ----------
    learning_rate : float
        The largest learning rate, for a batch of `reference_batch` images; it is scaled in proportion to the batch.
    reference_batch : int
    final_learning_rate : float
        The learning rate at the end of the cosine, as a share of the largest.
    warmup_epochs : float
    weight_decay : float
        Weight decay of weights with two axes or more.
    layer_decay : float
        Factor of the learning rate from each block to the one before it.
    betas : two numbers
    clip : float, optional
        Largest norm of the gradient.
    """

    learning_rate: float = 4e-3
    reference_batch: int = 256
    final_learning_rate: float = 0.0
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None


@dataclass(frozen=True)
class Loop:
    """The training loop.

    Parameters
    ----------
    epochs : int
    batch : int
        Number of images of one step of the optimiser, on all processes together.
    accumulate : int
        Number of parts into which each process divides its share of a batch.
    test_batch : int
        Number of images that a process tests at once.
    precision : {"fp32", "bf16", "fp16", "auto"}
        ``auto``: fp32 or bf16, whichever takes less time for a step when the training begins. The training keeps this
        precision and reports it.
    average : float
        Decay of the exponential moving average of the weights, from step to step; 0 for none.
    test_every : int
        Number of epochs between tests of the network; it is also tested after the last epoch.
    fit_every : int
        Number of epochs between fits of the eight families to the depthwise filters, for r2 and formation; 0 for never.
    """

    epochs: int = 14
    batch: int = 256
    accumulate: int = 1
    test_batch: int = 500
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "auto"
    average: float = 0.0
    test_every: int = 1
    fit_every: int = 1


@dataclass(frozen=True)
class Recipe:
    """A whole training; see the parts."""

    data: Data
    network: Network = field(default_factory=Network)
    depthwise: Depthwise = field(default_factory=Depthwise)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: Optimizer = field(default_factory=Optimizer)
    loop: Loop = field(default_factory=Loop)
    seed: int = 0


_LARGE, _COUNT, _SEED = 1e12, 2**31 - 1, 2**63 - 1
_TINY = 1e-9
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("data.size", "data.detail", "network.widths"), (1, 2**16)),
    **dict.fromkeys(("data.train_images", "data.test_images", "optimizer.reference_batch"), (1, _COUNT)),
    **dict.fromkeys(
        ("loop.epochs", "loop.batch", "loop.accumulate", "loop.test_batch", "loop.test_every"), (1, _COUNT)
    ),
    **dict.fromkeys(("network.depths", "network.kernel", "network.patch"), (1, 1000)),
    **dict.fromkeys(("data.workers", "augmentation.pad"), (0, 2**16)),
    "loop.fit_every": (0, _COUNT),
    "seed": (0, _SEED),
    "data.mean": (-_LARGE, _LARGE),
    "data.std": (_TINY, _LARGE),
    **dict.fromkeys(("augmentation.mixup", "augmentation.cutmix", "depthwise.sigma", "depthwise.norm"), (0, _LARGE)),
    **dict.fromkeys(("optimizer.learning_rate", "optimizer.warmup_epochs", "optimizer.weight_decay"), (0, _LARGE)),
    **dict.fromkeys(("depthwise.weight_decay", "depthwise.parameter_decay", "optimizer.clip"), (0, _LARGE)),
    "depthwise.start": (0, _LARGE),
    "depthwise.alpha": (0, STRENGTH_MAX),
    **dict.fromkeys(("augmentation.least_area", "augmentation.flip", "augmentation.erasing"), (0, 1)),
    **dict.fromkeys(("augmentation.label_smoothing", "network.drop_path", "loop.average"), (0, 1)),
    **dict.fromkeys(("optimizer.layer_decay", "optimizer.final_learning_rate"), (0, 1)),
    "optimizer.betas": (0, 1 - _TINY),
}
"""The least and the largest value of numbers, and of each number of a list."""

_LONGEST, _DEEPEST = 2**20, 20  # bytes of a recipe, and recipes below one another

WRITTEN = "recipe.yaml"
"""What a training calls the file of its recipe."""

FREE = ("data.source", "data.workers", "loop.test_batch")
"""Settings with which a training may go on after they changed: they say where and how fast, not what."""


RECIPES = Path(__file__).parent / "recipes"
"""Where the recipes are that come with the package."""

_BUILTIN = "builtin:"


def recipe_file(name: str | Path) -> Path:
    """Return the file of a recipe: a path, or ``builtin:NAME`` for one that comes with the package.

    Raises
    ------
    RecipeError
        If no recipe of this name comes with the package.

    Examples
    --------
    >>> recipe_file("builtin:cifar_convnext_free").name
    'cifar_convnext_free.yaml'
    """
    if not str(name).startswith(_BUILTIN):
        return Path(name)
    known = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
    asked = str(name).removeprefix(_BUILTIN).removesuffix(".yaml")
    if asked not in known:
        raise RecipeError(f"{shown(str(name))}: no such recipe comes with the package; there are {', '.join(known)}")
    return known[asked]


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file.

    Parameters
    ----------
    path : str or Path
        A mapping with the parts of :class:`Recipe`, or ``builtin:NAME``. Its entry ``base`` may name another recipe,
        ``builtin:NAME`` or a file relative to its own folder, whose settings it inherits.
    overrides : sequence of str
        Values that replace those of the file: ``optimizer.learning_rate=1e-3``.

    Raises
    ------
    RecipeError
        If the file cannot be read, or a setting is unknown or of another type.
    MissingExtraError
        If PyYAML is not installed.
    """
    values = _read(recipe_file(path), ())
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise RecipeError(f"{override!r} is no override; write it as optimizer.learning_rate=1e-3")
        if name.count(".") > _DEEPEST:
            raise RecipeError(f"{shortened(name, 100)} is no setting; settings are like optimizer.learning_rate")
        values = with_override(values, name.strip(), parse_yaml(text, override))
    try:
        return _checked(settings_of(Recipe, values))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def _checked(recipe: Recipe) -> Recipe:
    """Refuse numbers out of range, and what excludes each other."""
    values = flat_settings(recipe)
    for name, (least, most) in _RANGES.items():
        for value in values[name] if isinstance(values[name], list) else [values[name]]:
            if value is None or isinstance(value, str):
                continue
            if value < least:
                raise RecipeError(f"{name} must be at least {least:.16g}, got {shown(value)}")
            if value > most:
                raise RecipeError(f"{name} must be at most {most:.16g}, got {shown(value)}")
    if recipe.data.in_memory and recipe.augmentation.crop == "resized":
        raise RecipeError("augmentation.crop: resized needs the images at their own sizes; set data.in_memory: false")
    return recipe


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write all settings of a recipe as YAML, in the place of an existing file."""
    yaml = require("yaml", extra="train")
    text = yaml.safe_dump(plain(recipe), sort_keys=False, default_flow_style=None)
    with new_file(path, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def changed(before: Recipe, now: Recipe) -> list[str]:
    """Say in which settings two recipes differ, but for those that may.

    Examples
    --------
    >>> changed(Recipe(Data("a"), seed=1), Recipe(Data("b"), seed=2))
    ['seed was 1 and is 2']
    """
    old, new = flat_settings(before), flat_settings(now)
    return [f"{name} was {old[name]} and is {new[name]}" for name in old if old[name] != new[name] and name not in FREE]


def flat_settings(recipe: Recipe) -> dict[str, Any]:
    """Return all settings of a recipe by their dotted names."""
    return _flat(plain(recipe))


def _flat(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{where}{name}.") if isinstance(value, Mapping) else {f"{where}{name}": value}
    return flat


def _read(path: Path, above: tuple[str, ...]) -> dict[str, Any]:
    """Read a file and lay it over its base."""
    text = read_text(path, RecipeError, most=_LONGEST)
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: is no recipe; write names with values, such as data: and network:")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or not base.isprintable():
        raise RecipeError(f"{path}: base must be the name of another recipe, got {shown(base)}")
    here = (*above, os.path.realpath(path))
    if len(here) > _DEEPEST:
        raise RecipeError(f"{path}: has more than {_DEEPEST} bases below one another; write fewer recipes")
    below = path.parent / recipe_file(base)
    if os.path.realpath(below) in here:
        raise RecipeError(f"{path}: is its own base; take the line with base out of one of the two")
    return merged(_read(below, here), values)
