"""``scalekeys check`` as a user runs it: what it says, its JSON, and its exit status."""

import json
from functools import partial

import pytest
import torch
from command_line import assert_one_sentence, run
from torch import nn

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
    assert "ill: 32 filters in 1 layer, 10 audits" in done.stdout
    assert "1. 8 of 32 filters are dead" in done.stdout
    assert "scalekeys prune NETWORK -o FILE" in done.stdout
    assert "scalekeys crop ill.pth -o FILE" in done.stdout
    assert "figure:   share of dead filters" in done.stdout
    assert done.stdout.index("8 of 32 filters are dead") < done.stdout.index("are larger than what they hold")


def test_long_names_are_not_broken(call):
    rows = [line for line in call("ill.pth").stdout.splitlines() if line.startswith(f"   {LONG}")]
    assert rows
    assert all(row.split()[1] == "9x9" for row in rows)


def test_what_the_audit_of_the_reach_lacks_is_told(call):
    assert "note: the audit reach needs the strides of the network" in call("few.pth", "--size", "32x48").stdout
    assert "'wide' is no size like 224 or 192x256" in call("few.pth", "--size", "wide").stderr


def test_json_holds_everything(call):
    done = call("ill.pth", "--json")
    found = json.loads(done.stdout)
    assert (found["model"], found["layers"], found["filters"]) == ("ill", 1, 32)
    assert found["advice"][0]["name"] == "dead-filters"
    assert found["advice"][0]["places"][0]["layer"] == LONG


def test_nothing_wrong_is_an_answer(call):
    done = call("few.pth")
    assert done.returncode == 0
    assert "note: 1 layer with fewer than 8 live filters can show dead filters only" in done.stdout
    assert done.stdout.endswith("Nothing to do: no audit has found anything.\n")


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


def test_wrong_usage(call):
    assert call("few.pth", "--seed", "-1").returncode == 2
    assert call().returncode == 2
