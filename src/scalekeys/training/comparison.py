"""Trainings beside each other: runs that differ by their seed alone are one condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scalekeys.errors import RecipeError
from scalekeys.training.recipe import FREE, Depthwise, flat_settings
from scalekeys.training.runs import Learned, Run

Cell = str | int | float | None
_FEW = 2  # settings that a name can hold
_FIGURES = ("top1", "top5", "average_top1", "average_top5", "r2")


@dataclass(frozen=True)
class Spread:
    """The mean of some runs and their sample standard deviation, which one run alone does not have."""

    mean: float
    std: float | None
    runs: int


@dataclass(frozen=True, eq=False)
class Condition:
    """Runs that differ by their seed alone.

    Parameters
    ----------
    name : str
        What the depthwise filters are, and what else sets the condition apart.
    runs : tuple of Run
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def depthwise(self) -> Depthwise:
        """What the depthwise filters are, and what of them is learned."""
        return self.runs[0].recipe.depthwise

    @property
    def counted(self) -> tuple[Run, ...]:
        """The finished runs, or where none is, all."""
        return tuple(run for run in self.runs if run.is_finished) or self.runs

    @property
    def learned(self) -> Learned | None:
        """How many numbers its runs change, where that is known of one of them."""
        return next((run.learned for run in self.runs if run.learned is not None), None)

    def spread(self, name: str) -> Spread | None:
        """Return mean and spread of a figure of the last epoch: a column of the metrics, or `accuracy`.

        None where no run has it.
        """
        found = [run.accuracy if name == "accuracy" else run.last(name) for run in self.counted]
        values = [value for value in found if value is not None]
        if not values:
            return None
        return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return a figure over epochs: the mean of the runs that have it, epoch by epoch."""
        epochs = max(len(run.rows) for run in self.runs)
        points = []
        for epoch in range(epochs):
            values = [run.rows[epoch][name] for run in self.runs if len(run.rows) > epoch and name in run.rows[epoch]]
            if values:
                points.append((epoch + 1, fmean(values)))
        return points


@dataclass(frozen=True, eq=False)
class Comparison:
    """Trainings beside each other.

    Parameters
    ----------
    conditions : tuple of Condition
        In the order in which they were given.
    """

    conditions: tuple[Condition, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, condition by condition."""
        return tuple(run for condition in self.conditions for run in condition.runs)

    @property
    def is_averaged(self) -> bool:
        """Whether all runs with figures have those of averaged weights."""
        return all(run.last("average_top1") is not None for run in self.runs if run.rows)

    @property
    def sources(self) -> tuple[str, ...]:
        """The data that the recipes name."""
        return tuple(dict.fromkeys(run.recipe.data.source for run in self.runs))

    def table(self) -> list[dict[str, Cell]]:
        """Return one row a run; accuracies are from 0 to 1, times in seconds, and what is missing is None."""
        return [_row(run, condition) for condition in self.conditions for run in condition.runs]


def compare(runs: Sequence[Run]) -> Comparison:
    """Put trainings beside each other.

    Raises
    ------
    RecipeError
        If there are none, or one is given twice.
    """
    if not runs:
        raise RecipeError("no trainings to compare; give the folders of at least one")
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"{twice}: is given twice; give every training once")
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple((name, repr(value)) for name, value in _settings(run).items()), []).append(run)
    members = list(groups.values())
    return Comparison(tuple(map(Condition, _names([group[0] for group in members]), map(tuple, members))))


def condition_name(wanted: Depthwise) -> str:
    """Say in a few words what the depthwise filters are.

    >>> condition_name(Depthwise()), condition_name(Depthwise("keys", "nearest", "none"))
    ('free', 'nearest keys, frozen')
    >>> condition_name(Depthwise("ideal8", learn="scales"))
    'ideal8, learned scales'
    >>> condition_name(Depthwise("ideal8", learn="none", change="shuffled"))
    'shuffled ideal8, frozen'
    """
    filters = (
        wanted.filters if wanted.assignment == "random" or wanted.filters == "as-is" else f"nearest {wanted.filters}"
    )
    if wanted.change != "none":
        filters = f"{wanted.change} {filters}"
    if wanted.learn == "all":
        return "free" if wanted.filters == "as-is" else f"{filters}, free"
    return f"{filters}, frozen" if wanted.learn == "none" else f"{filters}, learned {wanted.learn}"


def _settings(run: Run) -> dict[str, Any]:
    """Return the settings that make a condition."""
    return {name: value for name, value in flat_settings(run.recipe).items() if name not in (*FREE, "seed")}


def _names(runs: Sequence[Run]) -> list[str]:
    """Name each condition; where names are equal, add the few settings that differ, or the folder if they are many."""
    names = [condition_name(run.recipe.depthwise) for run in runs]
    result = []
    for run, name in zip(runs, names, strict=True):
        alike = [_settings(other) for other, same in zip(runs, names, strict=True) if same == name]
        mine = _settings(run)
        differing = [setting for setting in mine if any(other[setting] != mine[setting] for other in alike)]
        few = [f"{setting}={mine[setting]}" for setting in differing] if len(differing) <= _FEW else [run.name]
        result.append(", ".join([name, *few]))
    return result


def _row(run: Run, condition: Condition) -> dict[str, Cell]:
    wanted, learned = run.recipe.depthwise, run.learned
    row: dict[str, Cell] = {
        "run": run.name,
        "condition": condition.name,
        "filters": wanted.filters,
        "assignment": wanted.assignment,
        "learn": wanted.learn,
        "seed": run.recipe.seed,
        "epochs": run.recipe.loop.epochs,
        "epochs_done": len(run.rows),
        "free_depthwise_parameters": None if learned is None else learned.depthwise,
        "free_parameters": None if learned is None else learned.all,
        **{name: run.last(name) for name in _FIGURES},
        "seconds": run.seconds,
    }
    for name in ("top1", "average_top1"):
        spread = condition.spread(name)
        row[f"condition_{name}_mean"] = None if spread is None else spread.mean
        row[f"condition_{name}_std"] = None if spread is None else spread.std
    return row | {"condition_runs": len(condition.counted), "notes": "; ".join(run.notes)}
