"""Two processes give what one does, up to rounding."""

import csv
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from tiny_data import RECIPE

from scalekeys.training import read_recipe, train

LAUNCHED = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
COMMAND = (sys.executable, "-c", "from scalekeys.cli import main; main()", "train", "tiny.yaml")
OVERRIDES = ("network.drop_path=0", "loop.epochs=2", "loop.fit_every=0", "loop.accumulate=2")


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_two_processes_give_the_weights_and_accuracies_of_one(cifar, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE.replace("source: cifar", f"source: {cifar}"))
    train(read_recipe(str(tmp_path / "tiny.yaml"), OVERRIDES), tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "precision.json").write_text('{"precision": "fp32", "seconds": {"fp32": 1.0}}')
    command = [*LAUNCHED, *COMMAND, *OVERRIDES, "loop.precision=auto", "-o", "two"]  # which both take from there
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (table(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    for row, other in zip(one, two, strict=True):
        for name in set(row) - {"seconds", "images_per_second"}:
            assert float(other[name]) == pytest.approx(float(row[name]), rel=1e-4), name
    weights, others = (load_file(tmp_path / name / "network.safetensors") for name in ("one", "two"))
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-4
