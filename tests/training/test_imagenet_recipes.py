"""The recipes of the published experiment: what they say, and that they run, on a handful of images."""

from pathlib import Path

import numpy as np
import pytest

import scalekeys as sk
import torchvision_placeholder
from scalekeys.training import read_recipe, train

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = ("convnextv2_tiny_imagenet_frozen", "convnextv2_tiny_imagenet_learn_scales")
SMALL = (
    "data.size=64",
    "data.workers=0",
    "network.name=timm:convnextv2_atto",
    "network.pretrained=false",
    "loop.epochs=1",
    "loop.batch=8",
    "loop.fit_every=0",
    "optimizer.warmup_epochs=0.5",
)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A folder as ImageNet is unpacked, of two classes."""
    image_module = pytest.importorskip("PIL.Image")
    folder, numbers = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = numbers.integers(0, 256, (80, 100, 3), dtype=np.uint8)
                image_module.fromarray(pixels).save(folder / part / name / f"{name}_{number}.JPEG")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_published_settings(name):
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    loop, optimizer, augmentation = recipe.loop, recipe.optimizer, recipe.augmentation
    assert (loop.epochs, loop.batch, loop.accumulate, loop.precision) == (300, 8 * 256 * 4, 4, "bf16")
    assert 0.99 < loop.average < 1
    assert (optimizer.learning_rate, optimizer.reference_batch, optimizer.warmup_epochs) == (8e-4, 256, 40)
    assert (optimizer.weight_decay, optimizer.layer_decay, recipe.network.drop_path) == (0.05, 0.9, 0.2)
    assert (augmentation.mixup, augmentation.cutmix) == (0.8, 1.0)
    assert (augmentation.label_smoothing, augmentation.erasing) == (0.1, 0.25)
    assert recipe.network.name == "timm:convnextv2_tiny.fcmae"
    assert recipe.network.pretrained
    assert recipe.depthwise.assignment == "nearest"


def test_frozen_filters_are_keys_and_learned_scales_start_at_the_published_one():
    frozen, learned = (read_recipe(RECIPES / f"{name}.yaml").depthwise for name in NAMES)
    assert (frozen.filters, frozen.learn) == ("keys", "none")
    assert (learned.filters, learned.learn, learned.scale, learned.start) == ("ideal8", "scales", "softplus", 1.5)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_a_handful_of_images(imagenet, tmp_path, name):
    torchvision_placeholder.install()
    pytest.importorskip("timm")
    recipe = read_recipe(RECIPES / f"{name}.yaml", [f"data.source={imagenet}", *SMALL])
    (row,) = train(recipe, tmp_path / "run")
    assert 0 <= row["average_top1"] <= 1
    bank = sk.extract(tmp_path / "run" / "network.safetensors")
    assert len(bank.layers) == 12  # blocks of ConvNeXt V2 Atto
    if recipe.depthwise.learn == "none":
        assert sk.assign_keys(bank).r2.min() > 0.999
    else:
        assert sk.fit(bank).r2.min() > 0.999
