"""``scalekeys keys --eliminate`` as a user runs it, and what it says of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from PIL import Image

from scalekeys.cli.work.eliminate import Task, open_task
from scalekeys.cli.work.search import Search
from scalekeys.clustering import cluster
from scalekeys.errors import DataError, FilterError, ModelError
from scalekeys.networks import eliminate_keys, key_curve
from scalekeys.training.network_source import Figures

NETWORK = """
import torch
from torch import nn
import scalekeys as sk

def build():
    torch.manual_seed(0)
    wide, small = nn.Conv2d(12, 12, 7, padding=3, groups=12), nn.Conv2d(12, 12, 3, padding=1, groups=12)
    with torch.no_grad():
        wide.weight.copy_(sk.master_keys()[[4, 5, 7]].repeat(4, 1, 1)[:, None] + 0.02 * torch.randn(12, 1, 7, 7))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))
    return nn.Sequential(nn.Conv2d(3, 12, 1), wide, nn.ReLU(), small, nn.ReLU(), *head)
"""
FLAGS = ("--size", 8, "--crop-pct", 1, "--mean", 0, "--std", 1)
ELIMINATE = ("keys", "--eliminate", "--network", "net.py:build", "--data", "images", *FLAGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("eliminate")
    (path / "net.py").write_text(NETWORK)
    generator = np.random.default_rng(0)
    for number in range(12):
        home = path / "images" / "abc"[number % 3]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(home / f"{number}.png")
    (path / "unlabelled").mkdir()
    for file in (path / "images" / "a").iterdir():
        (path / "unlabelled" / file.name).symlink_to(file)
    return path


def opened(folder, **change):
    figures = Figures((8, 8), 1.0, (0.0,) * 3, (1.0,) * 3)
    task = {
        "network": f"{folder / 'net.py'}:build",
        "checkpoint": None,
        "weights": None,
        "data": str(folder / "images"),
        "labels": None,
        "images": 12,
        "by": "accuracy",
        "candidates": 6,
        "draws": 1,
        "figures": figures,
        "seed": 0,
    }
    return open_task(Task(**(task | change)), lambda text, total=None: lambda amount: None)


def eliminated(folder, k=2, sizes=(7, 7), layers=None, **change):
    task = opened(folder, **change)
    search = Search(0, 1, "equal", "none", sizes, None, layers)
    step = lambda text, total=None: lambda amount: None  # noqa: E731
    candidates = task.candidates([task.bank], search, step)
    found = search.keys([task.bank], k, step, controls=False)
    return task.eliminate(candidates, found, search, step)


def test_the_keys_and_the_curve_are_those_of_the_library(folder):
    arguments = ("-k", 3, "--candidates", 6, "--draws", 1, "--sizes", "7x7", "--restarts", 1, "--no-curve")
    done = run(*ELIMINATE, *arguments, "-o", "found", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    task = opened(folder)
    module, (first, second) = task.network.module, task.halves
    assert [len(images) for images, _ in (*first, *second)] == [6, 6]
    candidates = cluster(task.bank, 6, sizes=(7, 7), restarts=1, controls=False).filters
    found = eliminate_keys(module, candidates, first, keep=1, layers=["1"])
    counts = (6, 3, 1)
    curve = key_curve(module, found, second, statistics=first, counts=counts, layers=["1"], draws=1)
    points = summary["elimination"]["points"]
    assert [(point["source"], point["count"], point["value"]) for point in points] == [
        (point.source, point.count, pytest.approx(point.value)) for point in curve.points
    ]
    assert (summary["elimination"]["images"], summary["elimination"]["by"]) == (6, "accuracy")
    keys = np.load(folder / "found" / "keys.npy")
    similarity = np.abs(keys.reshape(3, -1) @ found.keys(3).flatten(1).numpy().T)
    np.testing.assert_allclose(similarity.max(1), 1, atol=1e-6)
    assert [len(summary["keys"]), summary["filters"], summary["left_out"]] == [3, 24, 12]
    page = (folder / "found" / "report.html").read_text(encoding="utf-8")
    assert 'id="elimination"' in page
    assert 'data-figure="elimination-curve"' in page


def test_the_terminal_shows_the_curve_of_outputs_where_there_are_no_labels(folder):
    options = ("--data", "unlabelled", "--by", "responses", "--candidates", "all", "-k", 2, "--draws", 1)
    done = run(*ELIMINATE, *options, "--sizes", "7x7", "--no-curve", "-o", "all", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: no accuracies, as there are no labels to use: unlabelled: has no folders" in done.stdout
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("keys   elim."))
    assert "elimination by responses of 12 candidates, 0 measurements; error of the outputs" in lines[start - 1]
    rows = [line.split() for line in lines[start + 1 : start + 6]]
    assert [row[0] for row in rows] == ["12", "6", "3", "2", "1"]
    assert [row[5:8] for row in rows[1:]] == [[row[5], "of", "1"] for row in rows[1:]]
    assert max(map(len, lines[start : start + 6])) < 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--eliminate", "--data", "images"), "--eliminate needs a network to measure"),
        (("--eliminate", "--network", "net.py:build"), "--eliminate needs images to measure on"),
        (("x.pth", "--network", "net.py:build"), "goes with --eliminate only"),
        (("x.pth", "--by", "accuracy"), "goes with --eliminate only"),
        ((), "give one source or more, or --eliminate with a network"),
        ((*ELIMINATE[1:], "--candidates", "8"), "needs more than 8 candidates, not 8"),
        ((*ELIMINATE[1:], "--candidates", "many"), "'many' is neither a number from 1 nor all"),
        ((*ELIMINATE[1:], "--symmetry", "dihedral"), "--eliminate goes with none only"),
        ((*ELIMINATE[1:], "--kinds", "grouped"), "--eliminate replaces depthwise filters only"),
        ((*ELIMINATE[1:], "--by", "luck"), "'luck' is not one of 'accuracy', 'outputs', 'responses'"),
        ((*ELIMINATE[1:], "--images", "1"), "images"),
    ],
)
def test_wrong_usage_says_what_is_missing(tmp_path, arguments, message):
    done = run("keys", "-o", "out", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    text = " ".join(done.stderr.replace("│", " ").split())
    assert message in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": "unlabelled"}, DataError, "without labels give --by outputs or --by responses"),
        ({"data": "missing", "by": "outputs"}, DataError, "missing: no such folder"),
        ({"images": 1}, DataError, "one half of the images decides, the other is measured"),
        ({"labels": Path("labels.txt"), "by": "outputs"}, DataError, "labels.txt"),
        ({"figures": Figures()}, ModelError, "nothing says how its images are prepared"),
    ],
)
def test_data_that_cannot_be_measured_on_are_refused(folder, change, error, message):
    change = {name: str(folder / value) if name == "data" else value for name, value in change.items()}
    with pytest.raises(error, match=message):
        opened(folder, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (5, 5)}, "no layer has kernels of 5x5; the sizes are 7x7, 3x3"),
        ({"candidates": 60}, "--candidates 60: cannot find 60 keys in 12 usable filters"),
        ({"layers": ["head"]}, "no layer is called 'head'; the layers are 1, 3"),
        ({"candidates": None, "k": 12}, "leaves 12 keys needs more candidates than the 12 there are; ask for fewer"),
    ],
)
def test_kernels_that_are_not_there_are_refused(folder, change, message):
    with pytest.raises(FilterError, match=message):
        eliminated(folder, by="responses", **change)


def test_only_the_chosen_layers_are_replaced(folder):
    keys, summary = eliminated(folder, by="responses", sizes="largest", layers=["3"])
    assert keys.window == (3, 3)
    assert (summary.measured, summary.counts) == ("accuracy", (6, 3, 2, 1))
    assert eliminated(folder, by="responses", sizes=(3, 3))[1].points == summary.points
