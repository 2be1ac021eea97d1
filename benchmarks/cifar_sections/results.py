"""What is kept of a training: its figures and its answers to the test images, and the metrics of each epoch."""

import base64
import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import scalekeys as sk
from cifar_sections.plan import Planned
from fit_sections.record import machine, versions
from scalekeys.networks import Evaluation
from scalekeys.training import read_recipe, read_run
from scalekeys.training.augmentation import Normalization
from scalekeys.training.building import build, load_weights
from scalekeys.training.data import open_data
from scalekeys.training.precision import taken_precision
from scalekeys.training.recipe import WRITTEN, Recipe
from scalekeys.training.records import METRICS

CLASSES = 10
LOG = "runs.csv"


@dataclass(frozen=True)
class Result:
    """A finished training.

    Parameters
    ----------
    condition, budget, seed
        See :class:`cifar_sections.plan.Planned`.
    settings : list of str
        What was set beside its recipe and its plan.
    epochs : int
    precision : str
        The one that was taken.
    hours : float
        Of all epochs, without interruptions.
    seconds_an_epoch : float
        The fastest.
    learned_depthwise, learned : int
        How many numbers it changed, of the depthwise filters and in all.
    last_train_loss : float
    r2 : float
        Median over the depthwise filters, of the best of eight families.
    top1, top5 : float
        Of the weights to use, averaged ones, in float32.
    top1_interval : two numbers
        What the number of test images leaves open, with 95 % confidence.
    correct : str
        Which test images it classifies correctly: bits in base64.
    images : int
        Number of test images.
    machine, versions : dict
    """

    condition: str
    budget: str
    seed: int
    settings: list[str]
    epochs: int
    precision: str
    hours: float
    seconds_an_epoch: float
    learned_depthwise: int
    learned: int
    last_train_loss: float
    r2: float
    top1: float
    top5: float
    top1_interval: list[float]
    correct: str
    images: int
    machine: dict[str, Any]
    versions: dict[str, str]

    @property
    def run(self) -> Planned:
        return Planned(self.condition, self.budget, self.seed)

    @property
    def evaluation(self) -> Evaluation:
        """Which test images it classifies correctly, for paired differences."""
        bits = np.unpackbits(np.frombuffer(base64.b64decode(self.correct), dtype=np.uint8), count=self.images)
        correct = torch.from_numpy(bits.astype(bool))
        return Evaluation(correct, correct, torch.zeros(self.images, dtype=torch.long), CLASSES)


def result_of(run: Planned, folder: Path, settings: Sequence[str]) -> Result:
    """Evaluate a finished training in a folder."""
    done, recipe, taken = read_run(folder), read_recipe(folder / WRITTEN), taken_precision(folder)
    if not done.is_finished or done.learned is None:
        raise SystemExit(f"{folder}: has not finished ({'; '.join(done.notes)})")
    network = build(recipe.network, CLASSES, recipe.data.size)
    load_weights(network, folder)
    found = sk.evaluate(network, _test_batches(recipe))
    return Result(
        condition=run.condition,
        budget=run.budget,
        seed=run.seed,
        settings=list(settings),
        epochs=recipe.loop.epochs,
        precision=recipe.loop.precision if taken is None else taken[0],
        hours=round((done.seconds or 0.0) / 3600, 3),
        seconds_an_epoch=round(min(row["seconds"] for row in done.rows), 1),
        learned_depthwise=done.learned.depthwise,
        learned=done.learned.all,
        last_train_loss=done.rows[-1]["train_loss"],
        r2=done.last("r2") or 0.0,
        top1=found.top1,
        top5=found.top5,
        top1_interval=list(found.top1_interval),
        correct=base64.b64encode(np.packbits(found.correct1.numpy()).tobytes()).decode(),
        images=found.count,
        machine=machine(),
        versions=versions(),
    )


def _test_batches(recipe: Recipe) -> list[tuple[Tensor, Tensor]]:
    test, normalization = open_data(recipe).test, Normalization(recipe.data.mean, recipe.data.std)
    loaded = (test[part] for part in torch.arange(len(test)).split(recipe.loop.test_batch))
    return [(normalization(pixels), labels) for pixels, labels in loaded]


def write_result(result: Result, folder: Path, results: Path) -> None:
    """Keep a finished training: its metrics first, since the JSON says that it stands."""
    results.mkdir(parents=True, exist_ok=True)
    _written(results / f"{result.run.name}.csv", (folder / METRICS).read_text())
    _written(results / f"{result.run.name}.json", json.dumps(asdict(result), indent=1) + "\n")


def _written(path: Path, text: str) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    temporary.replace(path)


def standing(run: Planned, places: Sequence[Path]) -> Path | None:
    """Return the file of the result of a training, if it stands in one of the folders."""
    files = (place / f"{run.name}.json" for place in places)
    return next((file for file in files if file.is_file()), None)


def read_results(folder: Path) -> list[Result]:
    """Read all results in a folder, in the order of their names."""
    return [Result(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def copy_results(source: Path, target: Path, *, again: bool) -> list[str]:
    """Copy results that are not there yet, or all; return the names of those that were copied."""
    target.mkdir(parents=True, exist_ok=True)
    names = []
    for result in read_results(source):
        name = result.run.name
        if again or not (target / f"{name}.json").is_file():
            for suffix in (".csv", ".json"):
                shutil.copyfile(source / f"{name}{suffix}", target / f"{name}{suffix}")
            names.append(name)
    return names


def write_log(results: Sequence[Result], path: Path) -> None:
    """Write a line for each training: what it was, how long it took, and on what."""
    rows = [
        {
            "run": result.run.name,
            "condition": result.condition,
            "budget": result.budget,
            "seed": result.seed,
            "epochs": result.epochs,
            "precision": result.precision,
            "hours": result.hours,
            "seconds_an_epoch": result.seconds_an_epoch,
            "top1": result.top1,
            "last_train_loss": round(result.last_train_loss, 4),
            "cpu": result.machine["cpu"],
            "cores": result.machine["cores"],
            "threads": result.machine["torch_threads"],
            "torch": result.versions["torch"],
            "scalekeys": result.versions["scalekeys"],
            "settings": " ".join(result.settings),
        }
        for result in results
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["run"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
