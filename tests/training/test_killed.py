"""Trainings that are killed by SIGKILL, wherever that happens, and go on to the same files."""

import csv
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from scalekeys.training import train
from scalekeys.training.recipe import write_recipe

KILLED = """
import os, pathlib, signal, sys
import accelerate, torch._dynamo, torch.utils.tensorboard  # once, and not in each process
from scalekeys.training import read_recipe, train

def strike(here):
    global count
    count -= here == place
    if here == place and not count:
        os.kill(os.getpid(), signal.SIGKILL)

class Watcher:
    def begin(self, epoch, epochs, images): pass
    def advance(self, images): strike("step")
    def end(self, row): strike("end")

def halved(write):
    def writing(path, content, **options):
        write(path, content[: len(content) // 2], **options)
        strike(path.name.split(".")[1])
        return write(path, content, **options)
    return writing

pathlib.Path.write_bytes = halved(pathlib.Path.write_bytes)
pathlib.Path.write_text = halved(pathlib.Path.write_text)
for strikes in sys.argv[3:]:
    place, _, count = strikes.partition("=")
    count = int(count)
    if not os.fork():
        train(read_recipe(sys.argv[1]), pathlib.Path(sys.argv[2], place), watcher=Watcher())
        os._exit(0)
    print(place, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
TIMES = {"seconds", "images_per_second"}
SETTINGS = ("loop.epochs=2", "loop.fit_every=2", "depthwise.filters=ideal8", "depthwise.learn=scales")


def table(folder):
    with (folder / "metrics.csv").open() as file:
        return [{name: text for name, text in row.items() if name not in TIMES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(cifar, tmp_path_factory):
    """A training that nothing interrupts."""
    from tiny_data import RECIPE

    from scalekeys.training import read_recipe

    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(RECIPE)
    wanted = read_recipe(folder / "tiny.yaml", [f"data.source={cifar}", *SETTINGS])
    write_recipe(wanted, folder / "recipe.yaml")
    train(wanted, folder / "run")
    return wanted, folder


@pytest.fixture(scope="module")
def killed(whole, tmp_path_factory):
    """Trainings, each in a process that is killed: in an epoch, and in writing weights, a snapshot and metrics."""
    folder, strikes = tmp_path_factory.mktemp("killed"), {"step": 8, "network": 1, "last": 2, "metrics": 2}
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED, whole[1] / "recipe.yaml", folder]
    command += [f"{place}={count}" for place, count in strikes.items()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == [f"{place} {-signal.SIGKILL}" for place in strikes], done.stderr
    return folder


@pytest.mark.parametrize("place", ["step", "network", "last", "metrics"])
def test_a_killed_training_comes_to_the_same_files(whole, killed, place):
    recipe, folder = whole[0], whole[1] / "run"
    train(recipe, killed / place)
    assert table(killed / place) == table(folder)
    one, other = (load_file(path / "network.safetensors") for path in (folder, killed / place))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted(path.name for path in (killed / place).iterdir()) == sorted(path.name for path in folder.iterdir())
