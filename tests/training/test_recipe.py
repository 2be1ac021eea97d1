"""Recipes: what they say, and what is refused in them."""

import pytest

from scalekeys.errors import RecipeError
from scalekeys.training.recipe import RECIPES, Data, Recipe, changed, read_recipe, write_recipe


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recipe.yaml"


def test_a_recipe_is_read_typed_and_overridden(path):
    path.write_text("data: {source: images}\noptimizer: {learning_rate: 8e-4, betas: [0.9, 0.95]}\n")
    recipe = read_recipe(path, ["loop.epochs=3", "optimizer.learning_rate=1e-3", "data.train_images=null"])
    assert recipe.optimizer.learning_rate == 1e-3
    assert recipe.optimizer.betas == (0.9, 0.95)
    assert recipe.loop.epochs == 3
    assert recipe.data == Data("images")


def test_a_recipe_is_laid_over_its_base(path, tmp_path):
    (tmp_path / "base.yaml").write_text("data: {source: a, size: 32}\nseed: 3\n")
    path.write_text("base: base.yaml\ndata: {size: 64}\n")
    assert read_recipe(path) == Recipe(Data("a", size=64), seed=3)


def test_what_is_written_is_read_again(path):
    recipe = Recipe(Data("images", mean=(0.1, 0.2, 0.3)), seed=5)
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_recipes_that_come_along_are_understood(file):
    read_recipe(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: a, sise: 3}", r"data\.sise is no setting; did you mean data\.size\?"),
        ("data: {size: 3}", r"data\.source is missing"),
        ("data: {source: a}\nloop: {epochs: many}", r"loop\.epochs must be a whole number, got 'many'"),
        ("data: {source: a}\nloop: {epochs: 2.5}", r"loop\.epochs must be a whole number, got 2\.5"),
        ("data: {source: a}\nloop: {epochs: 0}", r"loop\.epochs must be at least 1, got 0"),
        (
            "data: {source: a}\nloop: {precision: half}",
            r"loop\.precision must be one of fp32, bf16, fp16, auto, got 'half'",
        ),
        ("data: {source: a, mean: [1, 2]}", r"data\.mean must be a list of 3 values"),
        ("data: {source: a}\naugmentation: {mixup: -1}", r"augmentation\.mixup must be at least 0"),
        ("data: {source: a}\naugmentation: {flip: 2}", r"augmentation\.flip must be at most 1"),
        (
            "data: {source: a}\noptimizer: {learning_rate: .nan}",
            r"optimizer\.learning_rate must be a number that is finite, got nan",
        ),
        ("data: {source: a}\nnetwork: 3", r"network: expected names with values, got 3"),
        ("- 1", r"recipe\.yaml: is no recipe"),
        ("data: {source: [}", r"recipe\.yaml, line 1: is not YAML"),
        ("base: recipe.yaml", r"is its own base"),
        ("base: none.yaml", r"none\.yaml: cannot be read \(No such file or directory\)"),
    ],
)
def test_what_is_wrong_is_named(path, text, message):
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_an_override_needs_a_value(path):
    path.write_text("data: {source: a}")
    with pytest.raises(RecipeError, match=r"'loop\.epochs' is no override; write it as"):
        read_recipe(path, ["loop.epochs"])


def test_only_settings_that_matter_count_as_changed():
    before = Recipe(Data("a"))
    assert changed(before, Recipe(Data("b", workers=4))) == []
    assert changed(before, Recipe(Data("a", size=32))) == ["data.size was 224 and is 32"]


def test_recipes_that_come_along_have_names_and_serve_as_bases(path):
    assert read_recipe("builtin:cifar_convnext_free") == read_recipe(RECIPES / "cifar_convnext_free.yaml")
    path.write_text("base: builtin:cifar_convnext_frozen_keys\nseed: 7\n")
    assert read_recipe(path).seed == 7
    assert read_recipe(path).depthwise == read_recipe("builtin:cifar_convnext_frozen_keys").depthwise
    with pytest.raises(RecipeError, match=r"'builtin:other': no such recipe comes with the package; there are cifar_"):
        read_recipe("builtin:other")
