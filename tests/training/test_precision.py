"""``loop.precision: auto``: the fastest precision, taken once for a training and kept."""

import json

import pytest
import torch
from torch import nn
from training_cases import Interrupted, StopAfter, figures

from scalekeys.errors import RecipeError
from scalekeys.training import precision, read_run, train
from scalekeys.training.precision import MEASURED, fastest_precision, taken_precision

AUTO = "loop.precision=auto"


@pytest.fixture
def clock(monkeypatch):
    """Sets how many seconds a step takes in each precision, and gives a list of the steps that are run."""
    steps = []

    def slow(**seconds):
        now = [0.0]
        steps.clear()

        def step_of(network, images, dtype):
            name = "fp32" if dtype is None else "bf16"

            def step():
                steps.append(name)
                now[0] += seconds[name]

            return step

        monkeypatch.setattr(precision, "_step", step_of)
        monkeypatch.setattr(precision, "perf_counter", lambda: now[0])
        return steps

    return slow


@pytest.mark.parametrize(("fp32", "bf16", "taken"), [(1.0, 2.0, "fp32"), (2.0, 1.0, "bf16")])
def test_a_training_takes_the_fastest_and_is_one_in_that_precision(recipe, tmp_path, clock, fp32, bf16, taken):
    clock(fp32=fp32, bf16=bf16)
    rows = train(recipe(AUTO, "loop.epochs=1"), tmp_path / "auto")
    assert figures(rows) == figures(train(recipe(f"loop.precision={taken}", "loop.epochs=1"), tmp_path / "given"))
    assert taken_precision(tmp_path / "auto") == (taken, {"fp32": fp32, "bf16": bf16})
    assert read_run(tmp_path / "auto").notes == (
        f"loop.precision: auto took {taken} (a step: fp32 {fp32:.3g} s, bf16 {bf16:.3g} s)",
    )
    assert not (tmp_path / "given" / MEASURED).exists()


def test_a_training_goes_on_in_the_precision_that_it_took(recipe, tmp_path, clock):
    clock(fp32=1.0, bf16=2.0)
    whole = train(recipe(AUTO, "loop.epochs=2"), tmp_path / "whole")
    for images in (40, 200):  # in the first epoch and in the second
        with pytest.raises(Interrupted):
            train(recipe(AUTO, "loop.epochs=2"), tmp_path / "parts", watcher=StopAfter(images))
        clock(fp32=2.0, bf16=1.0)
    assert figures(train(recipe(AUTO, "loop.epochs=2"), tmp_path / "parts")) == figures(whole)
    again = train(recipe(AUTO, "loop.epochs=1"), tmp_path / "parts", force=True)
    assert taken_precision(tmp_path / "parts")[0] == "bf16"
    assert figures(again) != figures(whole)[:1]


def test_a_precision_that_is_hopelessly_slow_is_not_measured_again(tmp_path, clock):
    network, images = nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8)
    steps = clock(fp32=1.0, bf16=30.0)
    assert fastest_precision(network, images, tmp_path) == "fp32"
    assert steps == ["fp32", "bf16"] * 2 + ["fp32"] * 2
    assert taken_precision(tmp_path) == ("fp32", {"fp32": 1.0, "bf16": 30.0})
    steps = clock(fp32=1.0, bf16=0.5)
    assert fastest_precision(network, images, tmp_path) == "bf16"
    assert steps == ["fp32", "bf16"] * 4


def test_measuring_changes_neither_the_network_nor_random_numbers(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 36, 5))
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    assert fastest_precision(network, torch.zeros(2, 3, 8, 8), tmp_path) in ("fp32", "bf16")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert min(json.loads((tmp_path / MEASURED).read_text())["seconds"].values()) > 0


@pytest.mark.parametrize("text", ["{", "[]", '{"precision": "fp64", "seconds": {}}', '{"precision": "fp32"}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / MEASURED).write_text(text)
    with pytest.raises(RecipeError, match=r"precision\.json.*begin anew with --force"):
        taken_precision(tmp_path)


def test_a_network_is_tested_every_so_many_epochs_and_after_the_last(recipe, tmp_path):
    rows = train(recipe("loop.epochs=3", "loop.test_every=2"), tmp_path / "run")
    assert [{"top1", "average_top1", "test_loss"} <= row.keys() for row in rows] == [False, True, True]
    every = train(recipe("loop.epochs=3"), tmp_path / "every")
    assert figures(rows)[1:] == figures(every)[1:]
    run = read_run(tmp_path / "run")
    assert run.accuracy == rows[-1]["average_top1"]
