"""``scalekeys crop`` as a user runs it: its table, its JSON, its exit status, and the weights it leaves."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import assert_one_sentence, loaded, run
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

NETWORK = """
from torch import nn

def build(side=7):
    layers = [nn.Conv2d(8, 8, side, padding=side // 2, groups=8, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)]
    return nn.Sequential(nn.Conv2d(3, 8, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

def small():
    return build(3)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORK)
    names = {}
    exec(NETWORK, names)
    torch.manual_seed(0)
    network = names["build"]().eval()
    with torch.no_grad():
        network[1].weight.copy_(nn.functional.pad(torch.randn(8, 1, 3, 3), [2] * 4))
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    return tmp_path


@pytest.fixture
def call(folder):
    """Run the verb in this folder."""
    return partial(run, "crop", cwd=folder)


def test_a_network_that_can_be_run(folder, call):
    done = call("nets.py:build", "--checkpoint", "net.pth", "-o", "small.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nets.py:build: 1 layer has smaller kernels" in done.stdout
    assert done.stdout.splitlines()[3].split() == ["1", "7x7", "3x3", "1x1", "0.0", "%", "320"]
    assert "depthwise parameters: 392 before, 72 now (18.4 %)" in done.stdout
    names = {}
    exec(NETWORK, names)
    small = loaded(done, names["small"](), folder)
    whole = names["build"]()
    whole.load_state_dict(load_file(folder / "net.safetensors"))
    images = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(small.eval()(images), whole.eval()(images))


@pytest.mark.parametrize("source", ["net.pth", "net.safetensors"])
def test_a_file_of_weights(folder, call, source):
    done = call(source, "-o", "small.pth", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    (layer,) = found["layers"]
    assert layer == {
        "layer": "1",
        "before": [7, 7],
        "kernel_size": [3, 3],
        "padding": None,
        "padding_less": [2, 2],
        "energy": 0.0,
        "saved": 320,
    }
    assert (found["numbers_before"], found["numbers"], found["matched_on"]) == (392, 72, 0)
    before, after = load_file(folder / "net.safetensors"), torch.load(folder / "small.pth")
    assert before.keys() == after.keys()
    assert torch.equal(after["1.weight"], before["1.weight"][..., 2:-2, 2:-2])
    assert all(torch.equal(after[key], before[key]) for key in before if key != "1.weight")


def test_what_has_to_be_set_is_told_of_weights_alone(call):
    done = call("net.pth", "-o", "small.pth")
    assert "-2, -2" in done.stdout
    assert done.stdout.rstrip().endswith("before it loads this file.")
    assert "by how much the padding changes, times the dilation" in done.stdout


def test_layers_by_name(call):
    found = json.loads(call("net.pth", "-o", "small.pth", "--layer", "1=5x3", "--json").stdout)
    assert found["layers"][0]["kernel_size"] == [5, 3]
    assert found["tolerance"] is None


def test_statistics_are_matched_on_images(folder, call):
    pictures = pytest.importorskip("PIL.Image")
    (folder / "images").mkdir()
    for number in range(3):
        pixels = torch.randint(256, (16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        pictures.fromarray(pixels.numpy()).save(folder / "images" / f"{number}.png")
    options = ("--images", "images", "--size", "16", "--layer", "1=1", "--json")
    done = call("nets.py:build", "--checkpoint", "net.pth", "-o", "small.safetensors", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["matched_on"] == 3
    before, after = (load_file(folder / name)["2.running_var"] for name in ("net.safetensors", "small.safetensors"))
    assert (before - after).abs().min() > 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["net.pth", "-o", "small.onnx"], ["small.onnx", ".safetensors, .pth or .pt"]),
        (["net.pth", "-o", "net.safetensors"], ["exists already", "--force"]),
        (["net.pth", "-o", "small.pth", "--images", "images"], ["holds weights alone", "--images"]),
        (["net.pth", "-o", "small.pth", "--layer", "stem=3"], ["no layer is called 'stem'"]),
        (["net.pth", "-o", "small.pth", "--layer", "1=9"], ["9x9 is not smaller than its kernels of 7x7"]),
        (["nets.py:small", "-o", "small.pth"], ["no kernels are cropped", "none is larger than what it holds"]),
        (["missing.pth", "-o", "small.pth"], ["missing.pth"]),
        (["nets.py", "-o", "small.pth"], ["nets.py:FUNCTION"]),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_a_sentence(folder, call, arguments, parts):
    assert_one_sentence(call(*arguments), *parts)
    assert not (folder / "small.pth").exists()


def test_a_graph_is_not_cropped_in_a_folder_either(folder, call):
    weight = onnx.numpy_helper.from_array(np.ones((4, 1, 3, 3), "f4"), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=4)
    shapes = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    (folder / "graph").mkdir()
    graph = onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:], [weight])
    onnx.save(onnx.helper.make_model(graph), folder / "graph" / "net.onnx")
    for source in ("graph", "graph/net.onnx"):
        assert_one_sentence(call(source, "-o", "small.pth"), f"{source}: holds a graph, which is not changed")


def test_weights_in_eight_bits_keep_their_bits_and_scales(folder, call):
    state = torch.load(folder / "net.pth")["state_dict"]
    state["3.weight"], state["3.weight_scale"] = state["3.weight"].to(torch.float8_e4m3fn), torch.tensor([0.01])
    torch.save(state, folder / "eight.pth")
    assert call("eight.pth", "-o", "small.pth").returncode == 0
    written = torch.load(folder / "small.pth")
    assert written["1.weight"].shape[-2:] == (3, 3)
    for key in ("3.weight", "3.weight_scale"):
        assert written[key].dtype == state[key].dtype
        assert torch.equal(written[key].view(torch.uint8), state[key].view(torch.uint8))


def test_the_weights_of_one_of_several_copies_are_written_as_those_of_a_network(folder, call):
    state = torch.load(folder / "net.pth")["state_dict"]
    copies = {f"{name}.{key}": value for name in ("model", "ema_model") for key, value in state.items()}
    torch.save(copies, folder / "copies.pth")
    done = call("copies.pth", "-o", "small.pth")
    assert done.returncode == 0
    names: dict = {}
    exec(NETWORK, names)
    loaded(done, names["small"](), folder)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["on the meta device", "quantised"])
def test_tensors_that_would_not_be_in_the_copy_as_they_are_are_named(folder, call, kind):
    state = torch.load(folder / "net.pth")["state_dict"]
    weight = state["3.weight"]
    state["3.weight"] = (
        weight.to("meta") if kind != "quantised" else torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)
    )
    torch.save(state, folder / "some.pth")
    assert_one_sentence(call("some.pth", "-o", "small.pth"), "cannot be copied in full", "'3.weight'", kind)
    assert not (folder / "small.pth").exists()


@pytest.mark.parametrize("layer", ["1", "1=", "1=axb", "=3", "1=0"])
def test_sides_that_are_none_are_wrong_usage(call, layer):
    done = call("net.pth", "-o", "small.pth", "--layer", layer)
    assert done.returncode == 2
    assert "is no name with sides" in done.stderr


def test_nothing_is_left_of_a_run_that_fails(folder, call):
    before = sorted(path.name for path in folder.iterdir())
    call("nets.py:small", "-o", "small.pth")
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == before


def test_a_run_that_is_interrupted_while_it_writes_leaves_nothing(folder, call, monkeypatch):
    before = {path.name for path in folder.iterdir()}

    def half(_state, file):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        call("net.pth", "-o", "small.pth")
    assert {path.name for path in folder.iterdir()} == before


def test_images_that_the_network_does_not_take_are_one_sentence(folder, call):
    (folder / "images").mkdir()
    for number in range(2):
        Image.new("RGB", (9, 9), (number,) * 3).save(folder / "images" / f"{number}.png")
    flags = "--images", "images", "--size", 9, "--grey", "--mean", 0, "--std", 1, "--layer", "1=3"
    done = call("nets.py:build", "-o", "small.pth", *flags)
    assert_one_sentence(done, "does not run on an input of shape (2, 1, 9, 9)")
