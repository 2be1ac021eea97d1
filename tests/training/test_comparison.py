"""Folders of trainings, read again and put beside each other."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from tiny_data import RECIPE

import scalekeys as sk
from scalekeys.errors import RecipeError
from scalekeys.training import read_recipe, train
from scalekeys.training.building import build
from scalekeys.training.comparison import compare
from scalekeys.training.recipe import write_recipe
from scalekeys.training.runs import read_run
from scalekeys.training.starting import starting_network

CONDITIONS = {
    "free0": (),
    "free1": ("seed=1",),
    "frozen": ("depthwise.filters=keys", "depthwise.learn=none"),
    "scales": ("depthwise.filters=ideal8", "depthwise.learn=scales"),
}


@pytest.fixture(scope="module")
def folder(cifar, tmp_path_factory):
    """Four trainings of an epoch, and one that has only begun."""
    place = tmp_path_factory.mktemp("runs")
    (place / "tiny.yaml").write_text(RECIPE)
    for name, overrides in CONDITIONS.items():
        train(read_recipe(place / "tiny.yaml", [f"data.source={cifar}", "loop.epochs=1", *overrides]), place / name)
    begun = read_recipe(place / "tiny.yaml", [f"data.source={cifar}"])
    write_recipe(begun, place / "begun" / "recipe.yaml")
    return place


def test_what_a_run_learned_is_counted(folder):
    runs = {name: read_run(folder / name) for name in CONDITIONS}
    assert runs["free0"].learned.depthwise == 24 * 49
    assert runs["frozen"].learned.depthwise == 0
    assert 24 < runs["scales"].learned.depthwise <= 48  # a scale for each axis, one for both of some families
    whole = sum(p.numel() for p in build(runs["free0"].recipe.network, 10, 32).parameters())
    assert runs["free0"].learned.all == whole
    assert whole - runs["frozen"].learned.all == 24 * 49
    assert all(run.is_finished and not run.notes for run in runs.values())


def test_the_start_is_that_of_the_training(folder):
    run = read_run(folder / "frozen")
    for before, after in zip(run.start, run.filters, strict=True):
        torch.testing.assert_close(before.kernels, after.kernels, rtol=0, atol=0)
    free = read_run(folder / "free0")
    change = torch.cat([(b.kernels - a.kernels).flatten() for b, a in zip(free.start, free.filters, strict=True)])
    assert 0 < float(change.abs().max()) < 0.2  # of another seed, they would be unlike
    other = sk.extract(starting_network(dataclasses.replace(free.recipe, seed=5), 10))
    unlike = torch.cat([(b.kernels - a.kernels).flatten() for b, a in zip(other, free.filters, strict=True)])
    assert float(unlike.std()) > 2 * float(change.std())


def test_reading_leaves_the_global_generator(folder):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    read_run(folder / "free0")
    assert torch.equal(torch.rand(2), expected)


def test_runs_that_differ_by_their_seed_are_one_condition(folder):
    names = ("free0", "scales", "free1", "frozen", "begun")
    comparison = compare([read_run(folder / name) for name in names])
    assert [condition.name for condition in comparison.conditions] == [
        "free, loop.epochs=1",
        "ideal8, learned scales",
        "keys, frozen",
        "free, loop.epochs=3",
    ]
    one, other = (run.last("average_top1") for run in comparison.conditions[0].runs)
    spread = comparison.conditions[0].spread("accuracy")
    assert spread.mean == pytest.approx((one + other) / 2)
    assert spread.std == pytest.approx(abs(one - other) / 2**0.5)
    assert comparison.conditions[1].spread("accuracy").std is None
    assert comparison.conditions[3].spread("accuracy") is None
    rows = comparison.table()
    assert [row["run"].rpartition("/")[2] for row in rows] == ["free0", "free1", "scales", "frozen", "begun"]
    assert rows[0]["condition_average_top1_mean"] == rows[1]["condition_average_top1_mean"] == spread.mean
    assert (rows[4]["epochs_done"], rows[4]["top1"], rows[4]["notes"]) == (0, None, "only 0 of 3 epochs are done")


def test_learned_scales_are_found_again(folder):
    run = read_run(folder / "scales")
    assert [scale.layer for scale in run.scales] == ["stages.0.0.depthwise", "stages.1.2.depthwise"]
    assert [scale.filters for scale in run.scales] == [8, 16]
    for scale in run.scales:
        assert scale.lower <= scale.median <= scale.upper
        assert scale.median == pytest.approx(1.0, abs=0.2)  # where they started, an epoch ago


def test_a_run_whose_start_is_gone_is_still_shown(folder, tmp_path):
    for file in ("network.safetensors", "metrics.csv"):
        (tmp_path / file).write_bytes((folder / "free0" / file).read_bytes())
    text = (folder / "free0" / "recipe.yaml").read_text()
    (tmp_path / "recipe.yaml").write_text(text.replace("checkpoint: null", "checkpoint: gone.pth"))
    run = read_run(tmp_path)
    assert run.start is None
    assert run.learned is None
    assert "cannot be made again" in run.notes[0]
    assert run.filters is not None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("recipe.yaml", None, "is no folder of a training, it has no recipe.yaml; give what scalekeys train wrote"),
        ("recipe.yaml", "data: {sise: 3}", r"recipe\.yaml: data\.sise is no setting"),
        ("metrics.csv", "epoch,top1\n1,0.5\n", r"metrics\.csv, line 2: has no seconds"),
        ("metrics.csv", "epoch,top1\n1,much\n", r"metrics\.csv: is damaged"),
    ],
)
def test_what_is_no_training_is_refused(folder, tmp_path, file, content, message):
    for name in ("network.safetensors", "metrics.csv", "recipe.yaml"):
        (tmp_path / name).write_bytes((folder / "free0" / name).read_bytes())
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(RecipeError, match=message):
        read_run(tmp_path)


def test_weights_of_another_network_are_noted(folder, tmp_path):
    for name in ("metrics.csv", "recipe.yaml"):
        (tmp_path / name).write_bytes((folder / "free0" / name).read_bytes())
    save_file({"other.weight": torch.randn(8, 1, 7, 7)}, tmp_path / "network.safetensors")
    assert "are not those of the network of its recipe" in read_run(tmp_path).notes[0]


def test_none_and_twice_are_refused(folder):
    with pytest.raises(RecipeError, match="no trainings to compare"):
        compare([])
    run = read_run(folder / "free0")
    with pytest.raises(RecipeError, match="free0: is given twice"):
        compare([run, run])
