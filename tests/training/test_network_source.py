"""Networks by name, with weights or without, and how they want their images."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import torchvision_placeholder
from scalekeys.errors import CheckpointError, MissingExtraError, ModelError
from scalekeys.training.cifar_convnext import CLASSES
from scalekeys.training.data.cifar import packed
from scalekeys.training.network_source import Figures, NamedNetwork, open_network, preparation_of

torchvision_placeholder.install()

FILE = """
import torch
from torch import nn
from beside import WIDTH

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, 2)

def build():
    return Network()

def loads_itself(checkpoint=None):
    network = Network()
    network.path = checkpoint
    return network

def wrong():
    return {"weights": 1}

def fails():
    raise ValueError("no such thing\\nat all")

def needs(more):
    return Network()

_private = build
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    return tmp_path


def test_a_function_of_a_file(folder, monkeypatch):
    before = list(sys.path)
    network = open_network(f"{folder}/net.py:build")
    assert type(network.module).__name__ == "Network"
    assert not network.module.training
    assert sys.path == before
    monkeypatch.chdir(folder)
    assert open_network("net.py:build").module.layer.in_features == 4


def test_a_checkpoint_is_loaded_strictly(folder):
    weights = open_network(f"{folder}/net.py:build").module.state_dict()
    torch.save(
        {"params": weights, "params_ema": {key: value + 1 for key, value in weights.items()}}, folder / "net.pth"
    )
    network = open_network(f"{folder}/net.py:build", checkpoint=folder / "net.pth")
    assert torch.equal(network.module.layer.weight, weights["layer.weight"] + 1)
    assert network.notes == (
        "weights are read from the entry 'params_ema'; the file also holds 'params' (choose with --weights)",
    )
    chosen = open_network(f"{folder}/net.py:build", checkpoint=folder / "net.pth", weights="params")
    assert torch.equal(chosen.module.layer.weight, weights["layer.weight"])
    torch.save({"layer.weight": torch.ones(2, 4)}, folder / "part.pth")
    with pytest.raises(CheckpointError, match=r"part\.pth: its weights are not those of .* \(it lacks 'layer\.bias'\)"):
        open_network(f"{folder}/net.py:build", checkpoint=folder / "part.pth")


def test_a_function_can_load_its_checkpoint_itself(folder):
    network = open_network(f"{folder}/net.py:loads_itself", checkpoint=folder / "any.pth")
    assert network.module.path == str(folder / "any.pth")
    assert open_network(f"{folder}/net.py:loads_itself").module.path is None
    with pytest.raises(ModelError, match="loads its checkpoint itself, which --weights cannot choose from"):
        open_network(f"{folder}/net.py:loads_itself", checkpoint=folder / "any.pth", weights="ema")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "builtin:master-keys",
            "names no network; give timm:NAME, hf:NAME, builtin:denoiser, builtin:cifar-convnext, or FILE.py:FUNCTION",
        ),
        ("timm:", "timm:: names no network"),
        ("net.py", "net.py: names no network"),
        ("{}/nothing.py:build", r"nothing\.py: no such file; give timm:NAME"),
        ("{}/net.py:bild", r"has no function 'bild'; it has 'build', 'loads_itself', 'wrong', 'fails' and 'needs'$"),
        ("{}/net.py:number", "has no function 'number'"),
        ("{}/net.py:wrong", "net.py:wrong: returns a dict, not an nn.Module"),
        ("{}/net.py:fails", r"net\.py:fails: failed \(ValueError: no such thing, line 23\)"),
        ("{}/net.py:needs", r"failed \(TypeError: needs\(\) missing 1 required positional argument: 'more'\)"),
        ("{}/broken.py:build", r"broken\.py: cannot be imported \(SyntaxError: .*, line 2\)"),
        ("{}/leaves.py:build", r"leaves\.py: cannot be imported \(SystemExit: 3, line 2\)"),
        ("{}/ends.py:build", r"ends\.py:build: failed \(SystemExit: 3, line 4\)"),
    ],
)
def test_a_bad_name_is_one_sentence(folder, name, match):
    (folder / "broken.py").write_text("x = 1\ndef build(:\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "ends.py").write_text("import sys\n\ndef build():\n    sys.exit(3)\n")
    with pytest.raises(ModelError, match=match) as caught:
        open_network(name.format(folder))
    assert "\n" not in str(caught.value)


def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((300, 200))


def test_timm_prepares_its_images_itself(tmp_path):
    timm = pytest.importorskip("timm")
    weights = timm.create_model("convnext_atto", num_classes=1000).state_dict()
    torch.save(weights, tmp_path / "atto.pth")
    network = open_network("timm:convnext_atto", checkpoint=tmp_path / "atto.pth")
    assert torch.equal(network.module.state_dict()["head.fc.weight"], weights["head.fc.weight"])
    own = preparation_of(network, Figures())
    config = timm.data.resolve_data_config(model=network.module)
    assert torch.equal(own(picture()), timm.data.create_transform(**config)(picture()))
    assert own.figures["crop_pct"] == config["crop_pct"]
    changed = preparation_of(network, Figures(size=(96, 96), mean=(0.5,) * 3))
    assert changed(picture()).shape == (3, 96, 96)
    assert changed.figures["mean"] == (0.5,) * 3
    assert changed.figures["std"] == config["std"]


def test_timm_is_given_images_of_a_kind_without_a_name_as_they_are():
    pytest.importorskip("timm")
    network = nn.Flatten()
    network.pretrained_cfg = {"input_size": (4, 32, 32), "mean": (0.5,) * 4, "std": (0.5,) * 4}
    prepare = preparation_of(NamedNetwork(network, "four channels"), Figures())
    assert prepare(picture().convert("RGBA")).shape == (4, 32, 32)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("hub")
    config = transformers.ConvNextV2Config(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, num_labels=6)
    transformers.ConvNextV2ForImageClassification(config).save_pretrained(path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.8).save_pretrained(path)
    return path


def test_transformers_prepare_their_images_themselves(hub):
    transformers = pytest.importorskip("transformers")
    network = open_network(f"hf:{hub}")
    stored = transformers.AutoModelForImageClassification.from_pretrained(hub)
    for key, value in stored.state_dict().items():
        assert torch.equal(network.module.state_dict()[key], value)
    own = preparation_of(network, Figures())
    expected = transformers.AutoImageProcessor.from_pretrained(hub)(images=picture(), return_tensors="pt")
    assert torch.equal(own(picture()), expected["pixel_values"][0])
    assert own.figures["crop_pct"] == 0.8
    assert own.figures["size"] == "shortest_edge 64"
    changed = preparation_of(network, Figures(mean=(0.25,) * 3))
    assert changed.figures["size"] == (64, 64)
    assert changed.figures["crop_pct"] == 0.8
    mean, std = (
        torch.tensor(numbers)[:, None, None] for numbers in (network.processor.image_mean, changed.figures["std"])
    )
    difference = (changed(picture()) * std + 0.25) - (own(picture()) * std + mean)
    assert difference.abs().mean() < 0.01  # the same picture but for how it was resized


def test_transformers_with_weights_of_a_file(hub, tmp_path):
    state = {key: value + 1 for key, value in open_network(f"hf:{hub}").module.state_dict().items()}
    torch.save(state, tmp_path / "other.pth")
    network = open_network(f"hf:{hub}", checkpoint=tmp_path / "other.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.module.state_dict().items())


def test_what_is_on_no_hub_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        CheckpointError, match=f"^hf:{tmp_path}: can be loaded neither from .* give the folder that hold"
    ):
        open_network(f"hf:{tmp_path}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scalekeys\[transformers\]'"):
        open_network("hf:any/thing")


def test_a_network_whose_requirements_do_not_load_is_one_sentence(hub, monkeypatch):
    transformers = pytest.importorskip("transformers")

    def fail(*_, **__):
        raise ModuleNotFoundError("Could not import module 'X'")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", fail)
    with pytest.raises(
        CheckpointError, match=r"transformers cannot load .* \(ModuleNotFoundError: .*'X'\); check that"
    ):
        open_network(f"hf:{hub}")


def test_other_networks_need_a_size():
    network = NamedNetwork(nn.Identity(), "mine.py:build")
    with pytest.raises(
        ModelError, match=r"^mine\.py:build: nothing says how its images are prepared; give at least --si"
    ):
        preparation_of(network, Figures(crop_pct=1.0))
    found = preparation_of(network, Figures(size=(32, 48), interpolation="bilinear"))
    assert found(picture()).shape == (3, 32, 48)
    assert found.figures == {
        "size": (32, 48),
        "crop_pct": 0.875,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bilinear",
    }


def test_the_network_that_comes_with_the_package_knows_its_images(shared):
    network = open_network("builtin:cifar-convnext")
    prepare = preparation_of(network, Figures())
    test, classes = packed(shared / "data" / "cifar10_jpeg.npz", "test")
    assert len(classes) == CLASSES
    pixels, labels = test[torch.arange(500)]
    images = torch.stack([prepare(Image.fromarray(one.permute(1, 2, 0).numpy())) for one in pixels])
    with torch.no_grad():
        right = (network.module(images).argmax(1) == labels).float().mean()
    assert right > 0.75
