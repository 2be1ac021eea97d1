"""Folders of trainings, read again: recipe, figures by epoch, and depthwise filters before and after."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from scalekeys.checkpoints import extract, open_source
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import CheckpointError, MissingExtraError, RecipeError
from scalekeys.files import expanded
from scalekeys.filters import FilterBank
from scalekeys.fitting import fit
from scalekeys.networks.running.depthwise_layers import depthwise_layers
from scalekeys.training.building import TRAINED, build
from scalekeys.training.depthwise import has_model
from scalekeys.training.drawn_filters import model_of
from scalekeys.training.precision import said_of_precision
from scalekeys.training.recipe import WRITTEN, Recipe, read_recipe
from scalekeys.training.records import METRICS
from scalekeys.training.snapshots import Row
from scalekeys.training.starting import starting_network

EXPLAINED = 0.5
"""The r2 from which on the scale of a filter counts."""


@dataclass(frozen=True)
class Learned:
    """How many numbers a training changes: of the depthwise filters without their biases, and in all."""

    depthwise: int
    all: int


@dataclass(frozen=True)
class LayerScale:
    """The scales of a layer, in pixels: the quartiles, over filters, of the geometric mean of both axes."""

    layer: str
    filters: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True, eq=False)
class Run:
    """A training that was done, or some of its epochs.

    Parameters
    ----------
    name : str
        Its folder.
    recipe : Recipe
    rows : tuple of dict
        Figures of the epochs that are done.
    filters, start : FilterBank or None
        The depthwise filters after the last epoch, and those it started from; None where there are none.
    learned : Learned or None
    notes : tuple of str
        What one should know of it.
    """

    name: str
    recipe: Recipe
    rows: tuple[Row, ...]
    filters: FilterBank | None
    start: FilterBank | None
    learned: Learned | None
    notes: tuple[str, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.rows) >= self.recipe.loop.epochs

    @property
    def seconds(self) -> float | None:
        """What the epochs took, without interruptions."""
        return sum(row["seconds"] for row in self.rows) if self.rows else None

    def last(self, name: str) -> float | None:
        """Return a figure of the latest epoch that has it, None where none has."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy, after the last epoch, of the weights to use: averaged ones where they are averaged."""
        return self.last("top1") if self.last("average_top1") is None else self.last("average_top1")

    @cached_property
    def scales(self) -> tuple[LayerScale, ...]:
        """The scales of each layer that has explained filters: of the model of the recipe, or else of the eight."""
        if self.filters is None:
            return ()
        wanted = self.recipe.depthwise
        found = fit(self.filters, model_of(wanted.filters) if has_model(wanted) else "ideal8")
        sigma, usable = found.sigma.log().mean(-1).exp(), found.r2.nan_to_num(0.0) >= EXPLAINED
        layers = []
        for layer, part in self.filters.parts():
            mine = sigma[part][usable[part] & sigma[part].isfinite()]
            if len(mine):
                quartiles = torch.quantile(mine.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
                layers.append(LayerScale(layer.name, len(mine), *quartiles))
        return tuple(layers)


def read_run(folder: Path) -> Run:
    """Read the folder of a training, whether all its epochs are done or not.

    Raises
    ------
    RecipeError
        If it is no folder of a training, or its recipe or figures are damaged.
    CheckpointError
        If its weights are damaged.
    """
    folder = expanded(folder)
    if not (folder / WRITTEN).is_file():
        raise RecipeError(
            f"{folder}: is no folder of a training, it has no {WRITTEN}; give what scalekeys train wrote "
            "(networks are compared by scalekeys atlas build)"
        )
    recipe = read_recipe(folder / WRITTEN)
    rows = _read_rows(folder / METRICS)
    notes = [] if len(rows) >= recipe.loop.epochs else [f"only {len(rows)} of {recipe.loop.epochs} epochs are done"]
    notes += said_of_precision(folder)
    if not (folder / TRAINED).is_file():
        return Run(str(folder), recipe, rows, None, None, None, tuple(notes))
    start, learned = None, None
    try:
        start, learned = _start_of(recipe, _classes(recipe, folder / TRAINED))
    except (CheckpointError, RecipeError, MissingExtraError) as error:
        notes.append(f"what it started from cannot be made again ({error})")
    return Run(str(folder), recipe, rows, extract(folder / TRAINED), start, learned, tuple(notes))


def _read_rows(path: Path) -> tuple[Row, ...]:
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        raise RecipeError(f"{path}: is damaged ({error}); go on with the training, which writes it again") from None
    for number, row in enumerate(rows, start=1):
        missing = [name for name in ("epoch", "seconds") if name not in row]
        if missing:
            raise RecipeError(f"{path}, line {number + 1}: has no {missing[0]}; go on with the training, or remove it")
    return tuple(rows)


def _classes(recipe: Recipe, path: Path) -> int:
    """Tell the number of classes from the weights: it is the length of those that it changes."""
    weights, few = open_source(path).tensors, 2
    with torch.random.fork_rng():
        network = build(replace(recipe.network, pretrained=False, checkpoint=None), few, recipe.data.size)
    for name, value in network.state_dict().items():
        if name not in weights:
            raise CheckpointError(f"{path}: has no weights {name!r}; they are not those of the network of its recipe")
        if tuple(weights[name].shape) != tuple(value.shape):
            return int(weights[name].shape[0])
    return few


def _start_of(recipe: Recipe, classes: int) -> tuple[FilterBank, Learned]:
    with torch.random.fork_rng():
        network = starting_network(recipe, classes)
    return extract(network), Learned(_count(_free_depthwise(network)), _count(list(network.parameters())))


def _free_depthwise(network: nn.Module) -> list[nn.Parameter]:
    layers = depthwise_layers(network, open_module(network)).values()
    return [parameter for layer in layers for name, parameter in layer.named_parameters() if name != "bias"]


def _count(parameters: Sequence[nn.Parameter]) -> int:
    """Count the numbers that take gradients; a shared parameter counts once."""
    distinct = {id(parameter): parameter for parameter in parameters if parameter.requires_grad}
    return sum(parameter.numel() for parameter in distinct.values())
