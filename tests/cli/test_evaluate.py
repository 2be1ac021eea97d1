"""``scalekeys evaluate`` as a user runs it: a process, its output, and its exit status."""

import json
import re
from dataclasses import replace

import pytest
import torch
from command_line import run
from PIL import Image

from scalekeys.cli.work.evaluate import Task, run_evaluation
from scalekeys.errors import DataError, ModelError
from scalekeys.images import batches, open_images
from scalekeys.images.preparation import Preprocessing
from scalekeys.networks import evaluate
from scalekeys.training.network_source import Figures

NETWORK = '''
import torch
from torch import nn

def build():
    """Tells colours apart: red, green, blue, and three shades of grey."""
    torch.manual_seed(0)
    head = nn.Linear(3, 6)
    with torch.no_grad():
        head.weight.copy_(torch.cat([6 * torch.eye(3) - 2, torch.tensor([[0.0], [1.0], [2.0]]).expand(3, 3)]))
        head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.5, 0.0, -1.5]))
    norm = nn.BatchNorm2d(3)
    depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
    with torch.no_grad():
        depthwise.weight.zero_()[:, 0, 1, 1] = 1
    return nn.Sequential(depthwise, norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
'''
COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (20, 20, 20), (127, 127, 127), (230, 230, 230)]
FLAGS = ("--size", 8, "--crop-pct", 1, "--mean", 0, "--std", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate")
    (path / "net.py").write_text(NETWORK)
    for number, colour in enumerate(COLOURS):
        for index in range(4):
            home = path / "images" / "abcdef"[number]
            home.mkdir(parents=True, exist_ok=True)
            shade = tuple(min(255, value + 40 * (index == 3)) for value in colour)
            Image.new("RGB", (12, 8), shade).save(home / f"{index}.png")
    return path


def built(folder):
    names = {}
    exec((folder / "net.py").read_text(), names)
    return names["build"]().eval()


@pytest.fixture(scope="module")
def done(folder):
    return run("evaluate", "net.py:build", "--data", "images", *FLAGS, cwd=folder)


def test_it_prints_the_accuracy_of_the_library(folder, done):
    assert (done.returncode, done.stderr) == (0, "")
    prepared = Preprocessing((8, 8), 1.0, (0.0,) * 3, (1.0,) * 3)
    expected = evaluate(built(folder), batches(open_images(str(folder / "images")), prepared, size=5))
    assert 0.5 < expected.top1 < 1
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("net.py:build"))
    assert row[1:4] == ["24", f"{100 * expected.top1:.1f}", "%"]
    low, high = expected.top1_interval
    assert row[4] == f"{100 * low:.1f}-{100 * high:.1f}"
    assert "images: images (size 8 8, crop_pct 1, mean 0 0 0, std 1 1 1, interpolation bicubic)" in done.stdout
    assert re.search(r"^\d+\.\d images/s$", done.stdout, re.MULTILINE)


def test_figures_for_machines_recalibration_and_the_reference(folder):
    network = built(folder)
    torch.save(network.state_dict(), folder / "whole.pth")
    with torch.no_grad():
        network[0].weight.mul_(0.3)
    torch.save({"state_dict": network.state_dict()}, folder / "changed.pth")
    arguments = ("evaluate", "net.py:build", "--data", "images", *FLAGS, "--checkpoint", "changed.pth", "--json")
    plain = json.loads(run(*arguments, "--reference", "pretrained", cwd=folder).stdout)
    assert plain["checkpoint"] == "changed.pth"
    assert plain["recalibrated_on"] == 0
    assert plain["top1"] < plain["reference"]["top1"]
    assert plain["difference"]["value"] == pytest.approx(plain["top1"] - plain["reference"]["top1"])
    assert plain["difference"]["interval"][0] < plain["difference"]["value"] < plain["difference"]["interval"][1]
    assert plain["notes"] == ["weights are read from the entry 'state_dict'"]
    restored = json.loads(
        run(*arguments, "--reference", "whole.pth", "--recalibrate", "images", "--limit", 20, cwd=folder).stdout
    )
    assert restored["recalibrated_on"] == 24
    assert restored["count"] == 20
    assert restored["top1"] == restored["reference"]["top1"]
    assert restored["difference"]["gained"] == restored["difference"]["lost"] == 0


def test_the_table_of_a_comparison(folder):
    (folder / "numbers.json").write_text(json.dumps({name: 5 - number for number, name in enumerate("abcdef")}))
    done = run(
        *("evaluate", "net.py:build", "--data", "images", *FLAGS, "--recalibrate", 10, "--reference", "pretrained"),
        *("--labels", "numbers.json"),
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "recalibrated on 10 images without their labels, matched to the reference" in done.stdout
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("net.py:build", "reference"))]
    assert rows == [["net.py:build", "24"], ["reference", "24"]]
    assert "difference: +0.0 points of top-1, with 95 % confidence from -" in done.stdout


def test_bad_input_is_one_line(folder):
    done = run("evaluate", "net.py:build", "--data", "images", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("scalekeys: net.py:build: nothing says how its images are prepared; give at least")
    assert done.stderr.count("\n") == 1


def task(folder, **changes):
    figures = Figures((8, 8), 1.0, (0.0,) * 3, (1.0,) * 3)
    plain = Task(
        f"{folder}/net.py:build", None, None, f"{folder}/images", None, None, None, figures, 64, None, 0, "cpu"
    )
    return replace(plain, **changes)


def test_classes_that_are_not_those_of_the_network_are_refused(folder):
    (folder / "few" / "red").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "few" / "red" / "a.png")
    with pytest.raises(DataError, match="few: the places of its 1 classes in order are not their numbers among the 6"):
        run_evaluation(task(folder, data=f"{folder}/few"), lambda *_: lambda _: None)
    (folder / "few" / "red").rename(folder / "few" / "5")
    assert run_evaluation(task(folder, data=f"{folder}/few"), lambda *_: lambda _: None).evaluation.count == 1


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(ModelError, match="--device nowhere: cannot be used"):
        run_evaluation(task(folder, device="nowhere"), lambda *_: lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--size", "8x"), "'8x' is no size like 224 or 192x256"),
        (("--mean", "0.5,0.5"), "'0.5,0.5' is no number, nor 3 with commas"),
        (("--std", "one"), "'one' is no number, nor 3 with commas"),
    ],
)
def test_wrong_usage(folder, arguments, fault):
    done = run("evaluate", "net.py:build", "--data", "images", *arguments, cwd=folder)
    assert done.returncode == 2
    assert fault in " ".join(done.stderr.split())
