"""The images of a recipe: folders and saved data sets, decoded here or in other processes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scalekeys.errors import DataError, RecipeError
from scalekeys.images.preparation import Preprocessing
from scalekeys.training import augmentation, read_recipe, train
from scalekeys.training import draws as draws_module
from scalekeys.training.data import open_data
from scalekeys.training.recipe import Augmentation

image_module = pytest.importorskip("PIL.Image")

CLASSES = ("cat", "dog")


def picture(seed, size=(90, 70)):
    return image_module.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 8), ("val", 4)):
        for label, name in enumerate(CLASSES):
            place = tmp_path / "pictures" / part / name / "inner"
            place.mkdir(parents=True)
            for number in range(count):
                picture(100 * label + number).save(place / f"{number}.png")
    (tmp_path / "pictures" / "train" / ".hidden").mkdir()
    (tmp_path / "pictures" / "train" / "cat" / ".x.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "network: {widths: [8], depths: [1]}\naugmentation: {crop: resized}\n"
        "loop: {epochs: 1, batch: 8, precision: fp32, fit_every: 0}\n"
    )
    return lambda source, *overrides: read_recipe(path, [f"data.source={source}", "data.size=32", *overrides])


def test_a_folder_gives_what_evaluate_sees(folder, recipe):
    data = open_data(recipe(folder, "data.size=80"))
    assert (data.classes, len(data.train), len(data.test)) == (CLASSES, 16, 8)
    pixels, labels = data.test[torch.arange(8)]
    assert labels.tolist() == [0] * 4 + [1] * 4
    expected = Preprocessing((80, 80)).pixels(picture(2))
    assert torch.equal(pixels[2], expected)


def test_small_images_are_not_cut_on_the_short_side(folder, recipe):
    pixels, _ = open_data(recipe(folder)).test[torch.arange(1)]
    assert torch.equal(pixels[0], Preprocessing((32, 32), 1.0).pixels(picture(0)))


def test_a_saved_data_set_gives_the_same(folder, recipe, tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    splits = {
        part: datasets.Dataset.from_dict(
            {
                "image": [picture(100 * label + number) for label in (0, 1) for number in range(count)],
                "label": [label for label in (0, 1) for _ in range(count)],
            },
            features=features,
        )
        for part, count in (("train", 8), ("val", 4))
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    ours, theirs = open_data(recipe(tmp_path / "saved")), open_data(recipe(folder))
    assert ours.classes == theirs.classes
    draws = next(draws_module.epoch_draws(16, 8, 0, 1, recipe(folder).augmentation))
    for one, other in zip(ours.train[draws], theirs.train[draws], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named_in_one_line(folder, recipe, tmp_path, workers):
    damaged = folder / "train" / "dog" / "inner" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        train(recipe(folder, f"data.workers={workers}"), tmp_path / "run")
    assert str(caught.value).startswith(f"{damaged}: cannot be read as an image")
    assert "\n" not in str(caught.value)


def test_workers_change_nothing(folder, recipe, tmp_path):
    rows = [train(recipe(folder, f"data.workers={workers}"), tmp_path / str(workers)) for workers in (0, 2)]
    assert rows[0][0]["train_loss"] == rows[1][0]["train_loss"]


def test_a_class_that_was_not_trained_on_and_missing_parts_are_refused(folder, recipe):
    (folder / "val" / "cow").mkdir()
    with pytest.raises(DataError, match="cow: the training images have no class of this name"):
        open_data(recipe(folder))
    with pytest.raises(RecipeError, match="has no folder 'learn'"):
        open_data(recipe(folder, "data.train=learn"))


def test_images_without_fine_detail_are_means_of_blocks(folder, recipe):
    settings = ("data.in_memory=true", "augmentation.crop=none")
    fine, coarse = (
        open_data(recipe(folder, *settings, *detail)).test[torch.arange(8)] for detail in ((), ("data.detail=16",))
    )
    blocks = [torch.nn.functional.avg_pool2d(pixels.float(), 2) for pixels, _ in (fine, coarse)]
    assert (blocks[0] - blocks[1]).abs().mean() < 12
    assert coarse[0].dtype == torch.uint8
    assert coarse[0].shape == fine[0].shape
    steps = [(pixels[..., 1:].float() - pixels[..., :-1].float()).abs().mean() for pixels, _ in (fine, coarse)]
    assert steps[1] < steps[0] / 2
    assert torch.equal(coarse[1], fine[1])
    constant = open_data(recipe(folder, *settings, "data.detail=32")).test[torch.arange(8)]
    assert torch.equal(constant[0], fine[0])


@pytest.mark.parametrize("settings", [("data.detail=16",), ("data.detail=15", "data.in_memory=true")])
def test_detail_needs_images_in_memory_and_whole_blocks(folder, recipe, settings):
    with pytest.raises(
        RecipeError, match=r"data\.detail: 1\d needs images in memory .* and to divide data\.size \(32\)"
    ):
        open_data(recipe(folder, "augmentation.crop=none", *settings))


@pytest.mark.parametrize("pad", [1, 4, 5, 11])
def test_the_largest_number_below_one_shifts_by_the_most(monkeypatch, pad):
    class Largest:
        """A generator of the largest numbers of float64 below 1, which float32 would round up to 1."""

        def random(self, shape):
            return np.full(shape, np.nextafter(1.0, 0.0))

        beta, integers = np.random.default_rng(0).beta, np.random.default_rng(0).integers
        permutation = np.random.default_rng(0).permutation

    monkeypatch.setattr(draws_module, "generator", lambda *_: Largest())
    wanted = Augmentation(crop="shift", pad=pad, flip=1.0, erasing=1.0, mixup=0.8)
    draws = next(draws_module.epoch_draws(4, 4, 0, 0, wanted))
    assert all(bool((numbers < 1).all()) for numbers in (draws.crop, draws.flip, draws.erase, draws.mix[:, 0]))
    images = torch.arange(3 * 16 * 16).remainder(251).byte().reshape(1, 3, 16, 16).repeat(4, 1, 1, 1)
    found = augmentation.shifted(images, draws.crop[:, :2], pad)
    assert torch.equal(found, F.pad(images, (-pad, pad, -pad, pad)))
    assert torch.equal(augmentation.shifted(images, torch.ones(4, 2), pad), found)
