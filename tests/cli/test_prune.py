"""``scalekeys prune`` as a user runs it: its files, its output, and its exit status."""

import json

import pytest
import torch
from command_line import loaded, run
from PIL import Image

import scalekeys as sk
from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    filters = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), filters, nn.SiLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1))
    with torch.no_grad():
        filters.weight[[2, 5]] = 0
    return network

def alive():
    network = build()
    network[1].reset_parameters()
    return network

def odd():
    network = build()
    with torch.no_grad():
        network[1].weight[7] = 0
    return network

class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand(1)

def noisy():
    return nn.Sequential(build(), Noise())
"""
SIZE = ("--size", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prune")
    (path / "net.py").write_text(NETWORK)
    (path / "images").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 10, 0)).save(path / "images" / f"{number}.png")
    return path


def built():
    names = {}
    exec(NETWORK, names)
    return names["build"]().eval()


def test_a_state_dict_is_written_and_loaded_as_it_is_said(folder):
    done = run("prune", "net.py:build", "-o", "small.pth", *SIZE, "--multiple-of", 2, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "net.py:build: 2 of 2 dead filters are removed" in done.stdout
    assert "written: small.pth" in done.stdout
    small, inputs = loaded(done, built(), folder).eval(), torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(small(inputs), built()(inputs))
    assert small[1].groups == 6


def test_onnx_gives_the_same_outputs_for_any_batch(folder):
    done = run(
        "prune", "net.py:build", "-o", "small.onnx", "--shape", "3x16x16", "--multiple-of", 1, "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["filters"], figures["removed"], len(figures["dead"])) == ([8, 6], 2, 2)
    inputs = torch.randn(5, 3, 16, 16)
    (outputs,) = OnnxNetwork(folder / "small.onnx")(inputs)
    torch.testing.assert_close(outputs, built()(inputs).detach())
    assert len(sk.extract(folder / "small.onnx")) == 6


def test_images_are_read_without_labels(folder):
    arguments = ("--images", "images", "--multiple-of", 2)
    done = run("prune", "net.py:odd", "-o", "seen.safetensors", *SIZE, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "seen.safetensors").is_file()
    assert "left: 1, because the channel is kept so that the width stays a multiple of 2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.py:build", "-o", "a.txt", *SIZE), "a.txt: a pruned network is written to .pth, .pt, .safetensors or"),
        (("net.py:build", "-o", "there.pth", *SIZE), "there.pth: exists already; give --force"),
        (("net.py:build", "-o", "a.pth"), "net.py:build: nothing says how its images are prepared"),
        (("there.pth", "-o", "a.pth"), "does not say how the network uses them; give FILE.py:FUNCTION"),
        (
            ("net.py:build", "-o", "a.pth", *SIZE),
            "no filter is removed (2 stay, because the channel is kept",
        ),
        (
            ("net.py:alive", "-o", "a.pth", *SIZE),
            "no filter is removed (none is dead); nothing is written",
        ),
        (("net.py:noisy", "-o", "a.pth", *SIZE), "gives other outputs when it runs again"),
        (("net.py:build", "-o", "a.pth", "--shape", "4x9x9"), "does not run on an input of shape"),
        pytest.param(
            ("net.py:build", "-o", "a.onnx", *SIZE, "--tolerance", 0),
            "is not written, because onnxruntime computes",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_is_one_line_and_no_file(folder, arguments, message):
    (folder / "there.pth").touch()
    done = run("prune", *arguments, cwd=folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("*a.*"))


@pytest.mark.parametrize(
    "options",
    [
        ("--shape", "3x0x4"),
        ("--shape", "3x4x4", "--size", 4),
        ("--shape", "3x4x4", "--images", "images"),
        ("--size", 4, "--grey"),
        ("--size", 4, "--grey", "--mean", 0.5),
    ],
)
def test_bad_usage(folder, options):
    assert run("prune", "net.py:build", "-o", "a.pth", *options, cwd=folder).returncode == 2
