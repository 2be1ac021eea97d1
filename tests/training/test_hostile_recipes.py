"""Recipes and snapshots of any origin: a recipe, or one sentence."""

import pytest
import torch

from scalekeys.errors import CheckpointError, RecipeError
from scalekeys.training import read_recipe
from scalekeys.training.recipe import flat_settings
from scalekeys.training.settings import plain
from scalekeys.training.snapshots import SNAPSHOT, read_snapshot

VALUES = (
    *("null", "true", "-1", "0", "1", "1e999", "1.0e+999", ".nan", "-.inf", "9" * 400, "0x" + "f" * 9000, "1:30"),
    *("x", '""', "[]", "[1, 2]", "{}", "{a: {b: 1}}", "2020-01-01", "!!binary aGk=", "!!set {a}", "x" * 10000),
    *('"\\0"', '"\\uD800"'),
)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "recipe.yaml"
    path.write_text("data: {source: a}")
    return [*flat_settings(read_recipe(path)), "data", "network", "seed", "base", "none.at.all", "seed.x"]


def test_every_setting_takes_or_refuses_every_kind_of_value(tmp_path, names):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {source: a}")
    answers = [answer(path, f"{name}={value}") for name in names for value in VALUES]
    refusals = [text for text in answers if text]
    assert len(refusals) > len(answers) // 2
    assert [text for text in refusals if len(text) > 480 or not text.isprintable()] == []


def answer(path, override):
    """Return what a recipe is refused with, nothing where it is read."""
    try:
        read_recipe(path, [override])
    except RecipeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text", ["base: [x]", "base: 1", 'base: "a\\0b"', "base: ../" + "x" * 5000, "? [a]\n: 1", "&a {b: *a}"]
)
def test_a_base_or_a_name_of_any_kind(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(f"{text}\n")
    with pytest.raises(RecipeError):
        read_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("data: {source: &a [*a]}", "has more than 10000 values, counting aliases"),
        ("data: {source: !!timestamp x}", "has a value that YAML cannot read"),
        ("data: {source: a, size: 99999999999999999999}", r"data\.size must be at most 65536"),
        ("data: {source: a, std: [0, 1, 1]}", r"data\.std must be at least 1e-09, got 0"),
        ("data: {source: a, mean: [1, .inf, 1]}", r"data\.mean\[1\] must be a number that is finite"),
    ],
)
def test_values_out_of_range_and_of_no_type_are_named(tmp_path, text, match):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=match):
        read_recipe(tmp_path / "recipe.yaml")


def test_a_chain_of_bases_ends(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml")
    with pytest.raises(RecipeError, match="has more than 20 bases"):
        read_recipe(tmp_path / "0.yaml")


def recursive():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda content: 3,
        lambda content: {},
        lambda content: content | {"rows": 3},
        lambda content: content | {"rows": [{"epoch": 1}]},
        lambda content: content | {"rows": [{"epoch": "x", "train_loss": 0, "seconds": 0, "images_per_second": 0}]},
        lambda content: content | {"states": [1]},
        lambda content: content | {"recipe": {"data": {"source": recursive()}}},
        lambda content: content | {"recipe": content["recipe"] | {"seed": 10**5000}},
    ],
)
def test_a_damaged_snapshot_is_one_sentence(tmp_path, change):
    (tmp_path / "recipe.yaml").write_text("data: {source: a}")
    recipe = read_recipe(tmp_path / "recipe.yaml")
    torch.save(change({"recipe": plain(recipe), "rows": [], "states": {}}), tmp_path / SNAPSHOT)
    with pytest.raises((CheckpointError, RecipeError), match=r"last\.pt: is (no snapshot|damaged)"):
        read_snapshot(tmp_path, recipe)
