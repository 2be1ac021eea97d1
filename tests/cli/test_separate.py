"""``scalekeys separate`` as a user runs it: its files, its output, and its exit status."""

import json

import pytest
import torch
from command_line import loaded, run
from PIL import Image

import scalekeys as sk

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    large, small = nn.Conv2d(4, 4, 31, padding=15, groups=4), nn.Conv2d(4, 4, 2, groups=4)
    column, row = torch.randn(4, 31, 2), torch.randn(4, 31, 2)
    with torch.no_grad():
        large.weight.copy_(torch.einsum("cyr,cxr->cyx", column, row)[:, None] / 31)
    return nn.Sequential(nn.Conv2d(3, 4, 1), large, nn.BatchNorm2d(4), small, nn.AdaptiveAvgPool2d(1), nn.Flatten())

def double():
    return build().double()
"""
SHAPE = ("--shape", "3x24x24")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("separate")
    (path / "net.py").write_text(NETWORK)
    (path / "images").mkdir()
    for number in range(4):
        Image.effect_noise((24, 24), 60 + number).convert("RGB").save(path / "images" / f"{number}.png")
    return path


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def built():
    names = {}
    exec(NETWORK, names)
    return names["build"]().eval()


def test_onnx_is_written_for_any_batch_and_computes_the_same(folder):
    done = run("separate", "net.py:build", "-o", "fast.onnx", *SHAPE, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "net.py:build: 1 layer of 2 separated" in done.stdout
    assert "left: 3, because its kernels are so small that one outer product multiplies as often" in done.stdout
    assert "the whole network in onnxruntime, on one thread: " in done.stdout
    assert "written: fast.onnx" in done.stdout
    inputs = torch.randn(5, 3, 24, 24)
    session = loaded(done, None, folder)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(outputs), built()(inputs).detach(), rtol=0, atol=1e-4)


def test_a_state_dict_is_written_and_loaded_again(folder):
    arguments = ("--images", "images", "--size", 24, "--rank", 2, "--json")
    done = run("separate", "net.py:build", "-o", "fast.pth", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["runtime"], figures["rank"], figures["matched_on"]) == ("torch", 2, 4)
    assert [(one["layer"], one["rank"]) for one in figures["layers"]] == [("1", 2)]
    assert figures["layers"][0]["error"] < 1e-6
    fast, inputs = sk.load_separated(built(), folder / "fast.pth").eval(), torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(fast(inputs), built()(inputs), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("net.py:build", "-o", "a.txt", *SHAPE),
            "a.txt: a separated network is written to .pth, .pt,",
        ),
        (("there.pth", "-o", "a.pth", *SHAPE), "does not say how the network uses them; give FILE.py:FUNCTION"),
        (("net.py:build", "-o", "a.pth", "--layer", "3", *SHAPE), "no layer is separated: '3', because its kernels"),
        (("net.py:build", "-o", "a.pth", "--shape", "4x9x9"), "does not run on an input of shape"),
        (("net.py:double", "-o", "a.onnx", "--runtime", "torch", *SHAPE), "onnxruntime cannot run the network"),
    ],
)
def test_bad_input_is_one_line_and_no_file(folder, arguments, message):
    (folder / "there.pth").touch()
    done = run("separate", *arguments, cwd=folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("*a.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rank", 1, "--tolerance", 0.1), "only one of these may be given"),
        (("--accuracy", 1), "needs images with labels"),
        (("--images", "images", "--data", "images"), "only one of these may be given"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(folder, arguments, message):
    done = run("separate", "net.py:build", "-o", "a.pth", *arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
