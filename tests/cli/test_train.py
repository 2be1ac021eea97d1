"""``scalekeys train`` as a user runs it: a process that can be killed, and goes on."""

import json
import signal
import subprocess
import time

import pytest
from command_line import COMMAND, run
from safetensors.torch import load_file

SETTINGS = """
data: {source: digits, size: 32}
network: {widths: [8], depths: [1]}
augmentation: {mixup: 0.8}
loop: {epochs: 8, batch: 16, precision: fp32, average: 0.9, fit_every: 0}
"""


@pytest.fixture
def folder(tmp_path):
    import numpy as np

    (tmp_path / "digits").mkdir()
    numbers = np.random.default_rng(0)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        records = numbers.integers(0, 256, (24, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(tmp_path / "digits" / f"{name}.bin")
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    return tmp_path


def test_it_trains_prints_the_last_figures_and_goes_on_after_a_kill(folder):
    whole = run("train", "tiny.yaml", "-o", "whole", cwd=folder)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "top-1" in whole.stdout
    assert "weights: whole/network.safetensors" in whole.stdout
    process = subprocess.Popen([*COMMAND, "train", "tiny.yaml", "-o", "parts"], cwd=folder)
    deadline = time.monotonic() + 120
    while not (folder / "parts" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = run("train", "tiny.yaml", "-o", "parts", "--json", cwd=folder)
    assert again.returncode == 0
    assert [row["epoch"] for row in json.loads(again.stdout)] == list(range(1, 9))
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
