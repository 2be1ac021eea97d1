"""Whole trainings on tiny data: they learn, and come to the same end however they get there."""

import csv
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from training_cases import Interrupted, StopAfter, figures

import scalekeys as sk
from scalekeys.errors import OutputError, RecipeError, ScaleKeysError, TrainingError
from scalekeys.training import loop, train


def test_a_folder_that_another_training_holds_is_refused(recipe, tmp_path):
    script = f"""
from pathlib import Path
from scalekeys.errors import OutputError
from scalekeys.files import held_folder
with held_folder(Path({str(tmp_path / "out")!r}), OutputError("busy")):
    print("held", flush=True)
    input()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="out: another process trains into it; wait until it is done"):
            train(recipe("loop.epochs=1"), tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
        holder.kill()
    assert len(train(recipe("loop.epochs=1"), tmp_path / "out")) == 1


def test_a_training_learns_and_leaves_its_files(recipe, tmp_path):
    rows = train(
        recipe("loop.epochs=12", "loop.fit_every=6", "augmentation.mixup=0", "augmentation.cutmix=0"), tmp_path / "out"
    )
    assert rows[-1]["top1"] > 0.5  # a guess is right for 10 %
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock",
        "last.pt",
        "metrics.csv",
        "network.safetensors",
        "recipe.yaml",
        "tensorboard",
    }
    with (tmp_path / "out" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["top1"]) for row in table] == [row["top1"] for row in rows]
    assert [bool(row["r2 stages.0.0.depthwise"]) for row in table] == [epoch in (6, 12) for epoch in range(1, 13)]
    assert len(sk.extract(str(tmp_path / "out" / "network.safetensors"))) == 24


def test_an_interrupted_training_comes_to_the_same_end(recipe, tmp_path):
    whole = train(recipe(), tmp_path / "whole")
    for images in (100, 200, 320):
        parts = tmp_path / f"after-{images}"
        with pytest.raises(Interrupted):
            train(recipe(), parts, watcher=StopAfter(images))
        torch.rand(7)  # what happens in between does not count
        again = train(recipe("data.workers=1"), parts)
        assert figures(again) == figures(whole), images
        one, other = (load_file(path / "network.safetensors") for path in (tmp_path / "whole", parts))
        assert all(torch.equal(one[name], other[name]) for name in one), images


@pytest.mark.parametrize("settings", [("ideal8", "scales"), ("jet2", "scales+coefficients")])
def test_learned_scales_go_on_too_and_end_as_plain_weights(recipe, tmp_path, settings):
    wanted = recipe(f"depthwise.filters={settings[0]}", f"depthwise.learn={settings[1]}", "loop.epochs=2")
    whole = train(wanted, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(wanted, tmp_path / "parts", watcher=StopAfter(200))
    assert figures(train(wanted, tmp_path / "parts")) == figures(whole)
    fit = sk.fit(sk.extract(tmp_path / "parts" / "network.safetensors"), settings[0])
    assert float(fit.r2.min()) > 0.999
    assert float((fit.sigma - 1).abs().max()) > 1e-3  # where they started


def test_accumulation_changes_rounding_only(recipe, tmp_path):
    rows = [
        train(recipe(f"loop.accumulate={parts}", "network.drop_path=0", "loop.epochs=2"), tmp_path / str(parts))
        for parts in (1, 4)
    ]
    for one, other in zip(*map(figures, rows), strict=True):
        assert other == pytest.approx(one, rel=1e-3)


def test_the_seed_and_the_global_generator(recipe, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = figures(train(recipe("loop.epochs=1"), tmp_path / "a"))
    assert torch.equal(torch.rand(3), expected)
    assert figures(train(recipe("loop.epochs=1"), tmp_path / "b")) == first
    assert figures(train(recipe("loop.epochs=1", "seed=1"), tmp_path / "c")) != first


def test_another_recipe_does_not_go_on(recipe, tmp_path):
    train(recipe("loop.epochs=1"), tmp_path / "out")
    with pytest.raises(RecipeError, match=r"out: holds a training by another recipe \(loop.epochs was 1 and is 2\)"):
        train(recipe("loop.epochs=2"), tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert len(train(recipe("loop.epochs=2"), tmp_path / "out", force=True)) == 2
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.source=nowhere", "nowhere: no such file or folder"),
        ("loop.batch=5000", "5000 is more than the 160 training images"),
        ("network.checkpoint=nowhere.pth", "nowhere.pth: no such file or folder"),
    ],
)
def test_a_training_that_cannot_start_removes_nothing(recipe, tmp_path, setting, message):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("last.pt", "network.safetensors", "metrics.csv", "recipe.yaml"):
        (folder / name).write_text("of before")
    with pytest.raises(ScaleKeysError, match=message):
        train(recipe(setting), folder, force=True)
    assert {path.name for path in folder.iterdir() if path.read_text() == "of before"} == {
        *("last.pt", "network.safetensors", "metrics.csv", "recipe.yaml")
    }


def test_a_file_in_the_place_of_the_folder_is_left_alone(recipe, tmp_path):
    (tmp_path / "out").write_text("mine")
    for force in (False, True):
        with pytest.raises(OutputError, match="out: is a file; name a folder to write into"):
            train(recipe(), tmp_path / "out", force=force)
    assert (tmp_path / "out").read_text() == "mine"


def test_what_cannot_be_removed_is_said(recipe, tmp_path):
    (tmp_path / "out" / "last.pt").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"last\.pt: cannot be written"):
        train(recipe(), tmp_path / "out", force=True)


def test_the_precision_may_change_from_training_to_training(recipe, tmp_path):
    for precision in ("fp32", "bf16"):
        assert len(train(recipe("loop.epochs=1", f"loop.precision={precision}"), tmp_path / precision)) == 1


def test_a_loss_that_is_not_finite_stops_it_and_leaves_the_last_epoch(recipe, tmp_path, monkeypatch):
    calls = []

    def exploding(*arguments):
        calls.append(1)
        return torch.full_like(real(*arguments), torch.nan) if len(calls) > 5 else real(*arguments)

    real = loop.augmented
    monkeypatch.setattr(loop, "augmented", exploding)
    with pytest.raises(TrainingError, match="no longer finite in epoch 2; what the epochs before it gave is saved"):
        train(recipe(), tmp_path / "out")
    weights = load_file(tmp_path / "out" / "network.safetensors")
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 2


def test_a_full_disk_stops_it_and_leaves_the_last_epoch(recipe, tmp_path, monkeypatch):
    from scalekeys.training import snapshots

    settings = recipe("loop.epochs=2")
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "out", watcher=StopAfter(200))
    before = (tmp_path / "out" / "last.pt").read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(snapshots.Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"network.safetensors: cannot be written \(No space left on device\)"):
        train(settings, tmp_path / "out")
    assert (tmp_path / "out" / "last.pt").read_bytes() == before
    assert not list((tmp_path / "out").glob(".*.tmp"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.batch=33", "33 images cannot be shared out in pairs to 1 processes x 1 parts; take a multiple of 2"),
        ("loop.batch=400", "400 is more than the 160 training images"),
        ("loop.precision=fp16", "fp16 needs a GPU"),
        ("network.name=resnet", "'resnet' is no network"),
        ("network.widths=[8]", "widths and depths need one number for each stage"),
        ("network.patch=64", "does not take images of 32 x 32 pixels"),
        ("data.size=64", "images of CIFAR-10 have 32 pixels"),
        ("data.source=nowhere", "nowhere: no such file or folder"),
        ("depthwise.learn=scales", "scales needs filters with a model"),
    ],
)
def test_what_cannot_be_done_is_refused(recipe, tmp_path, override, message):
    if override == "loop.precision=fp16" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RecipeError, match=message):
        train(recipe(override), tmp_path / "out")
