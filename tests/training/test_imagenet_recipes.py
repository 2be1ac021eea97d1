"""The recipes of the published experiment: what they say, and that they run, on a handful of images."""

import numpy as np
import pytest
import torch

import scalekeys as sk
import torchvision_placeholder
from scalekeys.paper import method_templates
from scalekeys.training import read_recipe, train

NAMES = tuple(f"convnextv2_tiny_imagenet_{name}" for name in ("frozen", "learn_scales", "learn_offsets"))
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
    recipe = read_recipe(f"builtin:{name}")
    loop, optimizer, augmentation = recipe.loop, recipe.optimizer, recipe.augmentation
    assert (loop.epochs, loop.batch, loop.accumulate, loop.precision) == (300, 8 * 256 * 4, 4, "bf16")
    assert 0.99 < loop.average < 1
    assert (optimizer.learning_rate, optimizer.reference_batch, optimizer.warmup_epochs) == (8e-4, 256, 40)
    assert (optimizer.weight_decay, optimizer.layer_decay, recipe.network.drop_path) == (0.05, 0.9, 0.2)
    assert (augmentation.mixup, augmentation.cutmix) == (0.8, 1.0)
    assert (augmentation.label_smoothing, augmentation.erasing) == (0.1, 0.25)
    rate = optimizer.learning_rate * loop.batch / optimizer.reference_batch
    assert rate * optimizer.final_learning_rate == pytest.approx(1e-6)
    assert recipe.network.name == "timm:convnextv2_tiny.fcmae"
    assert recipe.network.pretrained
    depthwise = recipe.depthwise
    assert (depthwise.filters, depthwise.assignment) == ("method:B", "nearest")
    assert depthwise.chosen_from == "timm:convnextv2_tiny.fcmae_ft_in1k"


def test_what_is_learned_is_as_published():
    frozen, scales, offsets = (read_recipe(f"builtin:{name}").depthwise for name in NAMES)
    assert (frozen.learn, offsets.learn, offsets.parameter_decay) == ("none", "offsets", 0.05)
    assert (scales.learn, scales.scale, scales.start) == ("scales", "softplus-sigma", 1.5)
    assert (scales.norm, scales.alpha, scales.parameter_decay) == ("unit", 0.5, 0.05)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    """A file of a network whose filters are drawn otherwise than those that are trained."""
    torchvision_placeholder.install()
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("supervised") / "supervised.pt"
    torch.save(timm.create_model("convnextv2_atto").state_dict(), path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_a_handful_of_images(imagenet, supervised, tmp_path, name):
    data = [f"data.source={imagenet}", f"depthwise.chosen_from={supervised}"]
    recipe = read_recipe(f"builtin:{name}", [*data, *SMALL])
    (row,) = train(recipe, tmp_path / "run")
    assert 0 <= row["average_top1"] <= 1
    bank, chooser = sk.extract(tmp_path / "run" / "network.safetensors"), sk.extract(supervised)
    assert len(bank.layers) == 12  # blocks of ConvNeXt V2 Atto
    candidates = method_templates("B")
    chosen, now = sk.assign_keys(chooser, candidates), sk.assign_keys(bank, candidates)
    if recipe.depthwise.learn == "scales":
        norms = torch.cat([layer.kernels.flatten(1).norm(dim=1) for layer in bank])
        torch.testing.assert_close(norms, torch.ones(len(bank)))
        assert (sk.fit(bank).family == np.array(sk.MASTER_KEY_FAMILIES)[chosen.index]).mean() > 0.99
    else:
        assert torch.equal(now.index, chosen.index)
        assert now.r2.min() > 0.999
