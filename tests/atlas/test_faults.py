"""Deaths of processes in the middle of their work, and what the next run makes of it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import deadly_analysis
import pyarrow.parquet as pq
import pytest
from atlas_cases import SCRIPT, assert_same, checkpoints, flat_network, undisturbed
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas import building
from scalekeys.atlas.layout import Layout

COUNT = 24


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [path.name for path in checkpoints(tmp_path, COUNT)]


def kill_in_the_middle(*options):
    """Start a build as a user does, and kill its driver when some rows are there."""
    command = [*SCRIPT, "atlas", "build", "net*.safetensors", "-o", "atlas", *options]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    filters, patience = Layout(Path("atlas")).filters, time.monotonic() + 120
    while len(list(filters.glob("*.parquet"))) < 3 and time.monotonic() < patience:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_driver_leaves_what_is_done_and_the_next_run_does_the_rest(nets):
    kill_in_the_middle("--workers", "1")
    assert not Layout(Path("atlas")).networks.exists()
    assert 3 <= len(list(Layout(Path("atlas")).filters.glob("*.parquet"))) < COUNT
    summary = sk.atlas.build(nets, "atlas")
    assert summary.kept >= 1
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_a_run_that_was_killed_while_it_changed_an_atlas_leaves_one_that_can_be_asked(nets):
    sk.atlas.build(nets[:1], "atlas")
    save_file(flat_network(-1), nets[0])
    kill_in_the_middle("--workers", "0")
    assert sk.atlas.open("atlas").sql("select count(*) as n from filters").to_arrow()["n"].to_pylist() == [18]
    sk.atlas.build(nets, "atlas")
    assert_same(Path("atlas"), undisturbed(nets, Path("one")))


def test_a_worker_that_dies_while_it_writes_costs_at_most_its_own_checkpoint(nets, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(building, "analyse", deadly_analysis.analyse_and_die)
        summary = sk.atlas.build(nets[:4], "atlas", workers=2)
    assert summary.networks == 3
    assert pq.read_table("atlas/failures.parquet").to_pylist() == [
        {
            "source": nets[2],
            "error": "WorkerDied",
            "reason": f"{nets[2]}: the worker process died each time that it was tried (out of memory, or killed)",
        }
    ]
    assert not list(Path("atlas").rglob("*.tmp"))
    sk.atlas.build(nets[:4], "atlas")
    assert_same(Path("atlas"), undisturbed(nets[:4], Path("one")))
