"""``scalekeys train`` as a user runs it: what it prints, and how it goes on after it was ended."""

import json

import numpy as np
import pytest
from command_line import run
from safetensors.torch import load_file

from scalekeys.training import loop

SETTINGS = """
data: {source: digits, size: 32}
network: {widths: [8], depths: [1]}
augmentation: {mixup: 0.8}
loop: {epochs: 2, batch: 16, precision: fp32, average: 0.9, fit_every: 0}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "digits").mkdir()
    numbers = np.random.default_rng(0)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        records = numbers.integers(0, 256, (24, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(tmp_path / "digits" / f"{name}.bin")
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    return tmp_path


def test_it_trains_prints_the_last_figures_and_goes_on_where_it_was_ended(folder, monkeypatch):
    whole = run("train", "tiny.yaml", "-o", "whole", cwd=folder)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "top-1" in whole.stdout
    assert "weights: whole/network.safetensors" in whole.stdout
    steps, plain = [], loop.augmented

    def ending(*arguments):
        steps.append(1)
        if len(steps) > 10:  # in the midst of the second epoch
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "augmented", ending)
        assert run("train", "tiny.yaml", "-o", "parts", cwd=folder).returncode != 0
    assert len((folder / "parts" / "metrics.csv").read_text().splitlines()) == 2
    again = run("train", "tiny.yaml", "-o", "parts", "--json", cwd=folder)
    assert again.returncode == 0
    assert [row["epoch"] for row in json.loads(again.stdout)] == [1, 2]
    one, other = (load_file(folder / name / "network.safetensors") for name in ("whole", "parts"))
    assert all(one[name].equal(other[name]) for name in one)


def test_it_says_which_precision_it_took(folder):
    done = run("train", "tiny.yaml", "loop.precision=auto", "loop.epochs=1", "-o", "auto", cwd=folder)
    taken = json.loads((folder / "auto" / "precision.json").read_text())["precision"]
    assert done.stdout.startswith(f"note: loop.precision: auto took {taken} (a step: fp32 ")


def test_a_mistake_is_one_line(folder):
    done = run("train", "tiny.yaml", "loop.epoch=3", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "scalekeys: tiny.yaml: loop.epoch is no setting; did you mean loop.epochs?\n"
    assert not (folder / "runs").exists()
