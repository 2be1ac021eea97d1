"""``scalekeys check`` as a user runs it: what it says, its JSON, and its exit status."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from command_line import assert_one_sentence, run
from PIL import Image
from torch import nn

from scalekeys.checkup.naming import Storage
from scalekeys.cli.work.check import Task
from scalekeys.training.network_source import Figures

LONG = "stages.0.blocks.1.mobile_inverted_conv.depth_conv.conv.with.a.very.long.name.that.goes.on.and.on"


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(-2.0, 3.0)
    wide = torch.rand(32, 2, 1, generator=generator) * 0.6 + 0.7
    column, row = torch.exp(-(place**2) / (2 * wide.square())).unbind(1)
    fine = column[:, :, None] * row[:, None]
    fine = fine + 0.05 * torch.randn(32, 5, 5, generator=generator)
    large = nn.functional.pad(fine, (2, 2, 2, 2))
    large[:8] = 0
    torch.save({f"{LONG}.weight": large[:, None]}, tmp_path / "ill.pth")
    torch.save({"dw.weight": 0.2 * torch.randn(4, 1, 3, 3, generator=generator)}, tmp_path / "few.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    return tmp_path


@pytest.fixture
def call(folder):
    """Run the verb in this folder."""
    return partial(run, "check", cwd=folder)


def test_advice_is_told_with_evidence_command_and_places(call):
    done = call("ill.pth")
    assert (done.returncode, done.stderr) == (0, "")
    verdict = "3 findings: 1 certain and 2 bounded; filters concerned: 32 of 32."
    assert done.stdout.startswith(f"ill: 32 filters in 1 layer, 11 audits\n{verdict}\n")
    assert "\nCertain: it follows from the weights. Bounded: its cost is bounded but not measured. " in done.stdout
    assert "1. 8 of 32 filters are dead" in done.stdout
    assert "scalekeys prune NETWORK --checkpoint ill.pth --size PIXELS -o pruned.pth" in done.stdout
    assert "scalekeys crop ill.pth -o cropped.pth" in done.stdout
    assert "figure:" not in done.stdout
    assert len(done.stdout.splitlines()) <= 24  # a screen
    assert done.stdout.index("8 of 32 filters are dead") < done.stdout.index("the outer taps of the kernels hold")


def test_layers_are_listed_on_request_and_long_names_are_not_broken(call):
    told = call("ill.pth", "--layers").stdout
    assert "figure:   share of dead filters" in told
    rows = [line for line in told.splitlines() if line.startswith(f"   {LONG}")]
    assert rows
    assert all(row.split()[1] == "9x9" for row in rows)


def test_what_the_audit_of_the_reach_lacks_is_told(call):
    assert "note: the audit reach needs the strides of the network" in call("few.pth", "--size", "32x48").stdout
    assert "'wide' is no size like 224 or 192x256" in call("few.pth", "--size", "wide").stderr


def test_json_holds_everything(call):
    done = call("ill.pth", "--json")
    found = json.loads(done.stdout)
    assert next(iter(found)) == "verdict"
    assert f"\n{found['verdict']}\n" in call("ill.pth").stdout
    assert (found["model"], found["layers"], found["filters"], found["concerned"]) == ("ill", 1, 32, 32)
    assert found["advice"][0]["name"] == "dead-filters"
    assert found["advice"][0]["places"][0]["layer"] == LONG


def test_nothing_wrong_is_an_answer(call):
    done = call("few.pth")
    assert done.returncode == 0
    assert "note: 1 layer with fewer than 8 live filters can show dead filters only" in done.stdout
    assert done.stdout.splitlines()[1] == "Nothing to do: none of the 11 audits has found anything."


def test_a_finding_that_is_to_fail_gives_status_3(call):
    done = call("ill.pth", "--fail-on", "dead,unformed", "--json")
    assert (done.returncode, done.stderr) == (3, "scalekeys: --fail-on: found dead-filters\n")
    assert json.loads(done.stdout)["advice"][0]["name"] == "dead-filters"
    assert call("ill.pth", "--fail-on", "dead-filters, too-large").stderr.endswith("found dead-filters, too-large\n")


def test_other_findings_do_not_fail(call):
    assert call("ill.pth", "--fail-on", "unformed").returncode == 0


def test_an_audit_that_cannot_be_made_does_not_pass(call):
    assert_one_sentence(call("few.pth", "--fail-on", "dead,reach"), "--fail-on reach", "strides")


def test_a_finding_that_does_not_exist_is_wrong_usage(call):
    done = call("few.pth", "--fail-on", "dead,sick")
    assert done.returncode == 2
    assert "'sick': no such audit" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["missing.pth"], ["missing.pth"]),
        (["broken.pth"], ["broken.pth"]),
        (["few.pth", "--kinds", "grouped"], ["few"]),
    ],
    ids=["missing", "broken", "kinds"],
)
def test_bad_input_is_refused_in_a_sentence(call, arguments, parts):
    assert_one_sentence(call(*arguments), *parts)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A Python file of a network with an unmoved filter, and images in two folders."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "nets.py").write_text(NETWORK)
    pixels = np.random.default_rng(0)
    for number in range(24):
        (folder / "images" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels.integers(256, size=(16, 16, 3), dtype=np.uint8))
        picture.save(folder / "images" / str(number % 2) / f"{number}.png")
    return folder


NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 5, padding=2, groups=16), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )
    network[0].weight.data[3] = 0
    network[0].bias.data[3] = 0
    network[1].weight.data[5] = 0
    network[2].running_var[:2] = 1e-7
    return network
"""


def test_with_labelled_images_advice_is_followed_and_measured(network):
    done = run("check", "nets.py:build", "--data", "images", "--size", "16", "--crop-pct", "1", cwd=network)
    assert done.returncode == 0, done.stderr
    assert "2 of 16 filters are dead" in done.stdout
    assert "the outputs of 1 more are the same for all 24 images" in done.stdout
    command = "scalekeys prune nets.py:build --size 16 --crop-pct 1.0 --images images --multiple-of 1 -o pruned.pth"
    assert command in done.stdout
    assert run(*command.split()[1:], "--json", cwd=network).returncode == 0
    assert "top-1 accuracy on 12 other images goes from" in done.stdout
    assert "2 channels of 16 with a batch norm vary less than its epsilon" in done.stdout


def test_commands_repeat_the_size_that_was_given():
    figures, rest = Figures(size=(32, 48), crop_pct=1.0), ("depthwise", None, None, None, 256)
    named = [
        Task(name, None, None, *rest, figures, (32, 48), 0).named(Storage()) for name in ("timm:net", "nets.py:build")
    ]
    options = "--size 32x48 --crop-pct 1.0"
    assert [one.running(2, (32, 48)) for one in named] == [f"timm:net {options}", f"nets.py:build {options}"]


@pytest.mark.parametrize(("options", "inputs"), [((), 12), (("--limit", 20), 10)], ids=["all", "limited"])
def test_without_labels_outputs_are_compared_on_half_of_the_images(network, options, inputs):
    done = run("check", "nets.py:build", "--images", "images", "--size", "16", "--json", *options, cwd=network)
    dead = json.loads(done.stdout)["advice"][0]
    assert dead["followed"]["measure"] == "change of outputs"
    assert dead["followed"]["inputs"] == inputs
    assert dead["followed"]["change"] < 1e-10


def test_classes_that_are_not_those_of_the_network_are_refused(network):
    for number in range(24):
        (network / "three" / "abc"[number % 3]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(network / "three" / "abc"[number % 3] / f"{number}.png")
    done = run("check", "nets.py:build", "--data", "three", "--size", "16", cwd=network)
    assert_one_sentence(done, "three: the places of its 3 classes in order are not their numbers among the 2 classes")


def test_too_few_images_and_images_without_a_network_are_refused(network, call):
    few = network / "few" / "0"
    few.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(few / "0.png")
    assert_one_sentence(run("check", "nets.py:build", "--images", "few", "--size", "16", cwd=network), "1 images", "20")
    assert_one_sentence(call("ill.pth", "--images", str(few)), "ill.pth", "names no network")
    assert call("ill.pth", "--images", "a", "--data", "b").returncode == 2


def test_wrong_usage(call):
    assert call("few.pth", "--seed", "-1").returncode == 2
    assert call().returncode == 2
