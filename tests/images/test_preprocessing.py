"""Pictures to tensors, as timm makes them; and figures that make no sense."""

import numpy as np
import pytest
import torch
from PIL import Image

import torchvision_placeholder
from scalekeys.errors import ModelError
from scalekeys.images.preparation import INTERPOLATIONS, Preprocessing
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of


def picture(width, height, mode="RGB"):
    generator = np.random.default_rng(width * height)
    coarse = generator.integers(0, 256, (max(2, height // 7), max(2, width // 7), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height)).convert(mode)


@pytest.mark.parametrize("shape", [(64, 64), (91, 64), (64, 91), (333, 50), (20, 31)], ids=str)
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
def test_it_is_what_timm_does(shape, crop_pct):
    torchvision_placeholder.install()
    data = pytest.importorskip("timm.data")
    image = picture(*shape)
    for interpolation in ("bicubic", "bilinear"):
        expected = data.create_transform(
            (3, 48, 48), crop_pct=crop_pct, interpolation=interpolation, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)
        )
        found = Preprocessing((48, 48), crop_pct, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), interpolation)
        torch.testing.assert_close(found(image), expected(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_timm_networks_take_pictures_of_any_mode(mode):
    torchvision_placeholder.install()
    timm = pytest.importorskip("timm")
    network = NamedNetwork(timm.create_model("test_convnext"), "timm:test_convnext")
    prepare, image = preparation_of(network, Figures()), picture(30, 40, mode)
    assert torch.equal(prepare(image), prepare(image.convert("RGB")))


def test_an_image_of_the_right_size_is_only_normalised():
    image = picture(32, 24)
    found = Preprocessing((24, 32), 1.0, (0.5,) * 3, (0.25,) * 3)(image)
    expected = (torch.from_numpy(np.array(image)).movedim(-1, 0) / 255 - 0.5) / 0.25
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(20, 30), (30, 20)], ids=str)
def test_any_size_and_interpolation(interpolation, size):
    found = Preprocessing(size, interpolation=interpolation)(picture(50, 40))
    assert found.shape == (3, *size)
    assert found.isfinite().all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode(mode):
    image = picture(40, 40, mode) if mode != "I;16" else Image.new("I;16", (40, 40))
    assert Preprocessing((32, 32))(image).shape == (3, 32, 32)
    assert Preprocessing((32, 32), mean=(0.5,), std=(0.5,))(image).shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("figures", "match"),
    [
        ({"size": (0, 5)}, r"at least one pixel on each side, got a size of \(0, 5\)"),
        ({"size": (10**5, 10**5)}, "images of 100000 x 100000 pixels, .*: more than 16777216 pixels"),
        ({"size": (224, 224), "crop_pct": 1e-3}, "images of 224 x 224 pixels, cut out of images 1e[+]03 times as wide"),
        ({"crop_pct": 0}, "above 0 and up to 1, got 0"),
        ({"crop_pct": 1.1}, "above 0 and up to 1, got 1.1"),
        ({"mean": (0.5, 0.5)}, "mean and std are three numbers each for colours, or one for grey"),
        ({"std": (0.5, 0, 0.5)}, "every std is above 0"),
        ({"std": (0.5,)}, "mean and std are three numbers each"),
        ({"mean": (0.5, 0.5, float("nan"))}, "all of them finite"),
        ({"std": (float("inf"),) * 3}, "all of them finite"),
        ({"interpolation": "cubic"}, "interpolation is one of 'nearest', .*, got 'cubic'"),
    ],
)
def test_figures_that_make_no_sense_are_refused(figures, match):
    with pytest.raises(ModelError, match=match):
        Preprocessing(**({"size": (8, 8)} | figures))


@pytest.mark.parametrize("shape", [(2, 60_000, 3), (60_000, 2, 3)])
def test_a_picture_that_is_long_and_narrow_does_not_fill_the_memory(shape):
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    middle = pixels[tuple(slice(max(0, side // 2 - 100), side // 2 + 100) for side in shape[:2])]
    prepare = Preprocessing((200, 200))
    long, short = (prepare.pixels(Image.fromarray(picture)) for picture in (pixels, middle))
    assert torch.equal(long, short)
