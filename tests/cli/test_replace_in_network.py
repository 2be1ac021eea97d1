"""``scalekeys replace --in-network`` as a user runs it, and how it goes on after it was ended."""

import json
from functools import partial

import pytest
import torch
from command_line import assert_one_sentence, run
from PIL import Image

import scalekeys as sk
from scalekeys.networks.changing import fit_in_network

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    layers = []
    for inputs in (3, 6):
        depthwise = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
        with torch.no_grad():
            depthwise.weight.copy_(nn.functional.avg_pool2d(torch.randn(6, 1, 7, 7), 3, stride=1))
        layers += [nn.Conv2d(inputs, 6, 1), depthwise, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()

def of_one_size():
    return nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.Linear(27, 3))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "images").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(24):
        pixels = torch.randint(256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
        picture = Image.fromarray(pixels).resize((12, 12), Image.Resampling.BICUBIC)
        picture.save(tmp_path / "images" / f"{number}.png")
    torch.save({"state_dict": network().state_dict(), "epoch": 3}, tmp_path / "net.pth")
    return tmp_path


def network():
    names = {}
    exec(NETWORK, names)
    return names["build"]()


@pytest.fixture
def call(folder):
    """Run the verb on the network in this folder."""
    options = ("--in-network", "--data", "images", "--size", 12, "--crop-pct", 1, "--model", "sparse2")
    return partial(run, "replace", "nets.py:build", *options, cwd=folder)


def test_a_copy_of_the_checkpoint_gets_the_filters_of_the_fit(folder, call):
    done = call("--checkpoint", "net.pth", "-o", "copy.pth", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["replaced"] == 12
    copy = torch.load(folder / "copy.pth")
    assert copy["epoch"] == 3
    fit = sk.fit(sk.extract(network()), "sparse2", criterion="response")
    plain = sk.replace(network(), fit)
    found = network()
    found.load_state_dict(copy["state_dict"])
    assert all(not torch.equal(found[place].weight, network()[place].weight) for place in (1, 4))
    assert all(not torch.equal(found[place].weight, plain[place].weight) for place in (1, 4))
    assert torch.equal(found[3].weight, network()[3].weight)


def test_without_a_checkpoint_a_state_dict_is_written_and_kept_layers_stay(folder, call):
    done = call("--keep", "4", "-o", "copy.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 of 12 depthwise filters" in done.stdout
    assert "--recalibrate" in done.stdout
    found = sk.extract(folder / "copy.safetensors")
    assert torch.equal(found.layers[1].kernels, network()[4].weight[:, 0])
    assert not torch.equal(found.layers[0].kernels, network()[1].weight[:, 0])


def test_a_killed_run_goes_on_at_the_layer_where_it_stopped(folder, call, monkeypatch):
    assert call("-o", "whole.pth").returncode == 0
    plain, done_layers = fit_in_network._improved, []

    def ending(*arguments):
        if done_layers:
            raise KeyboardInterrupt
        done_layers.append(1)
        return plain(*arguments)

    monkeypatch.setattr(fit_in_network, "_improved", ending)
    assert call("-o", "copy.pth").returncode != 0
    assert sorted(path.name for path in folder.glob("copy*")) == ["copy.pth.work"]
    counted = []
    monkeypatch.setattr(fit_in_network, "_improved", lambda *arguments: counted.append(1) or plain(*arguments))
    done = call("-o", "copy.pth")
    assert (done.returncode, len(counted)) == (0, 1)
    assert "goes on with 2 finished parts of an earlier run" in done.stdout
    whole, copy = (torch.load(folder / name) for name in ("whole.pth", "copy.pth"))
    assert all(torch.equal(whole[key], copy[key]) for key in whole)
    assert not (folder / "copy.pth.work").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--model", "jets"), ("jets",)),
        (("--layers", "stem"), ("no layer is called 'stem'",)),
        (("--limit", 7), ("7 images are too few; give at least 10",)),
        (("-o", "copy.txt"), ("copy.txt",)),
        (("--checkpoint", "none.pth"), ("none.pth",)),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(folder, call, options, parts):
    assert_one_sentence(call("-o", "copy.pth", *options), *parts)
    assert not (folder / "copy.pth").exists()


@pytest.mark.parametrize("verb", [("check", "--images"), ("replace", "-o", "copy.pth", "--in-network", "--data")])
def test_images_of_a_size_that_the_network_does_not_take_are_refused(folder, verb):
    done = run(*verb, "images", "nets.py:of_one_size", "--size", 12, cwd=folder)
    assert_one_sentence(done, "nets.py:of_one_size: does not run on images of shape (3, 12, 12)", "--size")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--in-network",), "needs images"),
        (("--data", "images"), "goes with"),
        (("--in-network", "--data", "images", "--min-r2", 0.5), "does not go"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(folder, options, why):
    done = run("replace", "nets.py:build", "-o", "copy.pth", *options, cwd=folder)
    assert done.returncode == 2
    assert why in done.stderr
