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

from torch import nn

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS, table
from offers_sections.subjects import CIFAR
from scalekeys.checkpoints import load_into
from scalekeys.training import TensorBoardFigures, read_recipe, train
from scalekeys.training.building import TRAINED
from scalekeys.training.cifar_convnext import CLASSES, CifarConvNeXt

RECIPE = "builtin:cifar_convnext_free"
_IMAGES = 50_000
"""Of an epoch of CIFAR-10."""


class _Clock:
    """Takes the processor time after each step."""

    def __init__(self) -> None:
        self.images, self.seconds = [0], [0.0]

    def begin(self, epoch: int, epochs: int, images: int) -> None:
        pass

    def advance(self, images: int) -> None:
        self.images.append(self.images[-1] + images)
        self.seconds.append(time.process_time())

    def end(self, row: dict[str, float]) -> None:
        pass

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, without its first step."""
        return _IMAGES * (self.seconds[-1] - self.seconds[1]) / (self.images[-1] - self.images[1])


def run_cost(arguments: argparse.Namespace) -> dict[str, Any]:
    overrides = [f"data.source={CIFAR}", "loop.epochs=1", "loop.fit_every=0"]
    recipe = read_recipe(RECIPE, [*overrides, f"data.train_images={arguments.images}"])
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        train(recipe, home / "run", watcher=clock)
        network = CifarConvNeXt(CLASSES)
        load_into(network, home / "run" / TRAINED)
        rows = []
        for most in (64, None):
            with TensorBoardFigures(home / f"{most}", most=most) as figures:
                seconds = [_seconds(figures, network, step) for step in range(arguments.runs)]
            later = statistics.median(seconds[1:])
            row = {"fitted a layer": most, "first": round(seconds[0], 3), "later": round(later, 3)}
            rows.append(row | {"epoch": round(clock.epoch, 1), "share of an epoch": round(later / clock.epoch, 5)})
    return {"steps": arguments.images // recipe.loop.batch, "seconds": rows}


def _seconds(figures: TensorBoardFigures, network: nn.Module, step: int) -> float:
    start = time.process_time()
    figures.write(network, step)
    return time.process_time() - start


def show_cost(results: dict[str, Any]) -> None:
    table(f"seconds of the processor, with an epoch scaled up from {results['steps']} steps", results["seconds"])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=19_200, help="that are trained on")
    parser.add_argument("--runs", type=int, default=10, help="of the callback")


SECTIONS: dict[str, Section] = {
    "cost": SimpleNamespace(HELP="seconds beside an epoch", add_arguments=_add_arguments, run=run_cost, show=show_cost)
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("callbacks.json"))
