"""``scalekeys compress`` as a user runs it: what it prints and writes, and how it goes on after it was ended."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from command_line import assert_one_sentence, loaded, run
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from scalekeys.cli.work.network_file import Same
from scalekeys.errors import OutputError
from scalekeys.networks.changing import keeping
from scalekeys.networks.measuring.same_outputs import Reference

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    depthwise = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    with torch.no_grad():
        depthwise.weight.copy_(nn.functional.avg_pool2d(torch.randn(6, 1, 7, 7), 3, stride=1))
    layers = [nn.Conv2d(3, 6, 1), depthwise, nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
"""
FIGURES = ("--size", 12, "--crop-pct", 1)
MODELS = ("--model", "sparse2", "--model", "jet1")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(60):
        home = path / "abc"[number % 3]
        home.mkdir(exist_ok=True)
        coarse = generator.integers(256, size=(4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((12, 12), Image.Resampling.BICUBIC).save(home / f"{number}.png")
    return path


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "images").symlink_to(images)
    return tmp_path


@pytest.fixture
def call(folder):
    """Run the verb on the network in this folder."""
    return partial(run, "compress", "nets.py:build", *FIGURES, cwd=folder)


def test_a_budget_is_kept_and_measured_on_images_that_were_held_out(folder, call):
    done = call("--data", "images", "--budget", 0.5, *MODELS, "-o", "small.safetensors", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert 0 < result["share"] <= 0.5
    assert (result["learned_on"], result["measured_on"]) == (30, 30)
    assert result["before"]["count"] == result["after"]["count"] == 30
    assert {row["model"] for row in result["models"]} <= {"sparse2", "jet1", "keep"}
    low, high = result["difference"]["interval"]
    assert low <= result["difference"]["value"] <= high
    state = load_file(folder / "small.safetensors")
    names = {}
    exec(NETWORK, names)
    network = names["build"]()
    network.load_state_dict(state)
    assert torch.linalg.matrix_rank(state["1.weight"].flatten(1)) > 1
    assert [path.name for path in folder.iterdir() if path.name.startswith("small")] == ["small.safetensors"]


def test_images_without_classes_are_all_learned_from(folder, call):
    done = call("--data", "images/a", "--budget", 0.5, *MODELS, "-o", "small.pth")
    assert (done.returncode, done.stderr) == (0, "")
    assert "% of the depthwise numbers are left" in done.stdout
    assert "learned from 20 images without labels" in done.stdout
    assert set(torch.load(folder / "small.pth")) == set(load_names())
    names = {}
    exec(NETWORK, names)
    network = loaded(done, names["build"](), folder)
    assert not torch.equal(network[1].weight, names["build"]()[1].weight)
    refused = call("--data", "images/a", "--tolerance", 1, *MODELS, "-o", "other.pth")
    assert_one_sentence(refused, "images/a", "give --budget")


def test_an_onnx_file_computes_what_the_network_computes_or_is_refused(folder, call):
    pytest.importorskip("onnxruntime")
    done = call("--data", "images/a", "--budget", 0.5, "--model", "sparse2", "-o", "small.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    names = {}
    exec(NETWORK, names)
    other, path = names["build"](), folder / "small.onnx"  # which is not compressed
    same = Same(lambda: Reference(other, torch.randn(2, 3, 12, 12)), 1e-3)
    with pytest.raises(OutputError, match=r"small.onnx: is not written, because onnxruntime computes outputs that"):
        same.check(path, path)


def load_names():
    names = {}
    exec(NETWORK, names)
    return names["build"]().state_dict()


def test_a_tolerance_is_looked_for(call):
    done = call("--data", "images", "--tolerance", 50, *MODELS, "-o", "small.pth")
    assert (done.returncode, done.stderr) == (0, "")
    share = float(re.search(r"([\d.]+) % of the depthwise numbers", done.stdout)[1])
    assert share < 60
    assert re.search(r"learned from 30 images, measured on the other 30, which were held out", done.stdout)
    assert re.search(r"top-1: [\d.]+ % before, [\d.]+ % now; difference [+-][\d.]+ points", done.stdout)


def test_a_killed_run_goes_on_where_it_stopped(folder, call, monkeypatch):
    options = ("--data", "images", "--budget", 0.5, *MODELS, "--model", "sparse4", "--json")
    whole = json.loads(call(*options, "-o", "whole.safetensors").stdout)
    fitted, plain = [], keeping.fit

    def ending(bank, model, **named):
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(model)
        return plain(bank, model, **named)

    monkeypatch.setattr(keeping, "fit", ending)
    assert call(*options, "-o", "small.safetensors").returncode != 0
    assert sorted(path.name for path in folder.glob("small*")) == ["small.safetensors.work"]
    monkeypatch.setattr(
        keeping, "fit", lambda bank, model, **named: fitted.append(model) or plain(bank, model, **named)
    )
    done = call(*options, "-o", "small.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert fitted == ["sparse2", "jet1", "sparse4"]
    result = json.loads(done.stdout)
    assert "goes on with 2 finished parts" in result["notes"][-1]
    assert result["models"] == whole["models"]
    assert (folder / "small.safetensors").read_bytes() == (folder / "whole.safetensors").read_bytes()
    assert not list(folder.glob("*.work"))


def test_another_option_or_a_damaged_file_begins_anew(folder, call, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    arguments = ("--data", "images", "--budget", 0.5, *MODELS, "-o", "small.pth")
    with monkeypatch.context() as context:
        context.setattr("scalekeys.networks.changing.compress.within_budget", killed)
        call(*arguments)
    kept = (folder / "small.pth.work").read_bytes()
    done = call(*arguments, "--seed", 3)
    assert "was begun with another value of the images, --seed; the work begins anew" in done.stdout
    for content in (b"", kept[: len(kept) // 2], b"\xff" * 100):
        (folder / "small.pth.work").write_bytes(content)
        done = call(*arguments, "--force")
        assert (done.returncode, done.stderr) == (0, "")
        assert "is damaged, or no work of an earlier run; the work begins anew" in done.stdout
    assert not (folder / "small.pth.work").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--budget", 0.3, "--tolerance", 1), ("give either a budget", "or a tolerance")),
        ((), ("give either a budget",)),
        (("--budget", 3), ("above 0 and at most 1, got 3",)),
        (("--budget", 0.01, *MODELS), ("numbers",)),
        (("--budget", 0.3, "--model", "sparrow"), ("sparrow",)),
        (("--budget", 0.3, "--layer", "stem"), ("no layer is called 'stem'",)),
        (("--budget", 0.3, "--limit", 15), ("15 images are too few; give at least 20",)),
        (("--budget", 0.3, "-o", "small.txt"), ("small.txt", ".pth, .pt, .safetensors or .onnx")),
        (("--budget", 0.3, "--data", "nothing"), ("nothing: no such folder",)),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(folder, call, options, parts):
    done = call("--data", "images", "-o", "small.pth", *options)
    assert_one_sentence(done, *parts)
    assert not (folder / "small.pth").exists()


def test_a_file_of_weights_alone_is_refused(folder):
    torch.save(nn.Conv2d(4, 4, 5, groups=4).state_dict(), folder / "net.pth")
    done = run("compress", "net.pth", "--data", "images", "--budget", 0.3, "-o", "small.pth", cwd=folder)
    assert_one_sentence(done, "net.pth", "give FILE.py:FUNCTION")
