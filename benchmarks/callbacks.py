"""What it costs to log the filters of a network after each epoch.

    OMP_NUM_THREADS=1 python benchmarks/callbacks.py cost --threads 1

The ConvNeXt of the recipe ``cifar_convnext_free`` is trained for some steps by ``scalekeys.training.train``, and
``TensorBoardFigures`` then writes the figures of its filters, several times: the first time also fits the white noise
that filters are compared with. The figures go into ``results/callbacks.json``.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS, table
from offers_sections.subjects import CIFAR
from scalekeys.checkpoints import load_into
from scalekeys.training import TensorBoardFigures, read_recipe, train
from scalekeys.training.building import TRAINED
from scalekeys.training.cifar_convnext import CLASSES, CifarConvNeXt

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "cifar_convnext_free.yaml"
_IMAGES = 50_000
"""Of an epoch of CIFAR-10."""


def run_cost(arguments: argparse.Namespace) -> dict[str, Any]:
    overrides = [f"data.source={CIFAR}", "loop.epochs=1", "loop.fit_every=0", "loop.average=0"]
    recipe = read_recipe(RECIPE, [*overrides, f"data.train_images={arguments.images}"])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        speed = train(recipe, home / "run")[-1]["images_per_second"]
        network = CifarConvNeXt(CLASSES)
        load_into(network, home / "run" / TRAINED)
        rows = []
        for most in (64, None):
            with TensorBoardFigures(home / f"{most}", most=most) as figures:
                seconds = [_seconds(lambda step: figures.write(network, step), step) for step in range(arguments.runs)]
            epoch = _IMAGES / speed
            later = statistics.median(seconds[1:])
            row = {"fitted a layer": most, "first": round(seconds[0], 3), "later": round(later, 3)}
            rows.append(row | {"epoch": round(epoch, 1), "share of an epoch": round(later / epoch, 5)})
    return {"images_per_second": round(speed, 1), "steps": arguments.images // recipe.loop.batch, "seconds": rows}


def _seconds(write: Any, step: int) -> float:
    start = time.perf_counter()
    write(step)
    return time.perf_counter() - start


def show_cost(results: dict[str, Any]) -> None:
    table(f"seconds, with an epoch scaled up from {results['steps']} steps", results["seconds"])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=19_200, help="that are trained on")
    parser.add_argument("--runs", type=int, default=10, help="of the callback")


SECTIONS: dict[str, Section] = {
    "cost": SimpleNamespace(HELP="seconds beside an epoch", add_arguments=_add_arguments, run=run_cost, show=show_cost)
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("callbacks.json"))
