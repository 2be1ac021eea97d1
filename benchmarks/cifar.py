"""The experiment of the paper's last section on CIFAR-10: what depthwise filters have to learn.

    python benchmarks/cifar.py --data cifar10.npz --runs runs --jobs 2

trains one network under every condition of ``recipes/cifar_convnext_*.yaml``, with the same budget, for every seed, and
puts the trainings beside each other. Interrupted, the same command goes on. Figures go into ``results/cifar.json``, the
metrics of each epoch into ``results/cifar``, the report and the trainings into the folder of the runs. Differences are
to the free condition of the same seed, on the same test images, of the weights that a training leaves, in float32.
"""

import argparse
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scalekeys as sk
from fit_sections.command import SCALEKEYS
from fit_sections.record import RESULTS, machine, save, table, versions
from scalekeys.training import Recipe, read_recipe
from scalekeys.training.augmentation import Normalization
from scalekeys.training.building import build, load_weights
from scalekeys.training.data import open_data
from scalekeys.training.records import METRICS

RECIPES = Path(__file__).parents[1] / "recipes"
FREE, REPLACED = "cifar_convnext_free", "cifar_convnext_replaced"
CONDITIONS = (
    FREE,
    "cifar_convnext_frozen_ideal8",
    "cifar_convnext_learned_scales",
    "cifar_convnext_frozen_keys",
    "cifar_convnext_frozen_random",
    "cifar_convnext_frozen_jet2",
    "cifar_convnext_learned_jet2",
)
_COLUMNS = (
    "seed",
    "epochs_done",
    "free_depthwise_parameters",
    "free_parameters",
    "average_top1",
    "top1",
    "r2",
    "seconds",
)


def main() -> None:
    arguments = _parsed()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for waves in (CONDITIONS, (REPLACED,)):  # the second starts from what the first has trained
            list(pool.map(partial(_train, arguments), *zip(*product(waves, arguments.seeds), strict=True)))
    runs = [_folder(name, seed, arguments) for name in (*CONDITIONS, REPLACED) for seed in arguments.seeds]
    comparison = ("-o", str(arguments.runs / "comparison"), "--force", "--json")
    rows = [_row(row) for row in json.loads(_scalekeys("compare", *map(str, runs), *comparison))]
    differences = _differences(arguments)
    for row in rows:
        row |= differences[row["run"]]
    metrics = arguments.output.with_suffix("")
    metrics.mkdir(parents=True, exist_ok=True)
    for run in runs:
        shutil.copyfile(run / METRICS, metrics / f"{run.name}.csv")
    options = {"epochs": arguments.epochs, "seeds": arguments.seeds, "jobs": arguments.jobs}
    header = {"machine": machine(), "versions": versions(), "options": options | {"settings": arguments.settings}}
    save("conditions", header | {"runs": rows}, arguments.output)
    table("CIFAR-10", rows)


def _differences(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Evaluate every run, by the name of its folder, and compare it with the free one of its seed."""
    recipe = read_recipe(RECIPES / f"{FREE}.yaml", [f"data.source={arguments.data}", *arguments.settings])
    batches = _test_batches(recipe)

    def evaluated(name: str, seed: int) -> sk.Evaluation:
        network = build(recipe.network, 10, recipe.data.size)
        load_weights(network, _folder(name, seed, arguments))
        return sk.evaluate(network, batches)

    rows: dict[str, dict[str, Any]] = {}
    for seed in arguments.seeds:
        free = evaluated(FREE, seed)
        for name in (*CONDITIONS, REPLACED):
            found = free if name == FREE else evaluated(name, seed)
            against = None if name == FREE else found.difference(free)
            rows[_folder(name, seed, arguments).name] = {
                "evaluated_top1": found.top1,
                "top1_interval": found.top1_interval,
                "to_free": against and against.value,
                "to_free_interval": against and against.interval,
            }
    return rows


def _test_batches(recipe: Recipe) -> list[tuple[Tensor, Tensor]]:
    test, normalization = open_data(recipe).test, Normalization(recipe.data.mean, recipe.data.std)
    loaded = (test[part] for part in torch.arange(len(test)).split(recipe.loop.test_batch))
    return [(normalization(pixels), labels) for pixels, labels in loaded]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"run": Path(row["run"]).name} | {name: row[name] for name in _COLUMNS}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help="further settings of every recipe, as scalekeys train takes them")
    parser.add_argument("--data", type=Path, required=True, help="what data.source of a recipe takes")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each with one thread")
    parser.add_argument("--output", type=Path, default=RESULTS.with_name("cifar.json"))
    return parser.parse_args()


def _folder(name: str, seed: int, arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.runs / f"{name}-{seed}"
    return folder


def _train(arguments: argparse.Namespace, name: str, seed: int) -> None:
    settings = [*arguments.settings, f"data.source={arguments.data}", f"seed={seed}"]
    if name == REPLACED:
        settings.append(f"network.checkpoint={_folder(FREE, seed, arguments)}")
    else:
        settings.append(f"loop.epochs={arguments.epochs}")
    _scalekeys("train", str(RECIPES / f"{name}.yaml"), *settings, "-o", str(_folder(name, seed, arguments)))


def _scalekeys(*words: str) -> str:
    command = (*SCALEKEYS, *words)
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"scalekeys {' '.join(words)} ended with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
