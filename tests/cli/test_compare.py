"""``scalekeys compare`` as a user runs it."""

import csv
import json

import numpy as np
import pytest
from command_line import run

from scalekeys.training import read_recipe, train

SETTINGS = """
data: {source: digits, size: 32}
network: {widths: [8], depths: [1]}
loop: {epochs: 1, batch: 32, precision: fp32, average: 0.9}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("compare")
    (place / "digits").mkdir()
    numbers = np.random.default_rng(0)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        records = numbers.integers(0, 256, (16, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(place / "digits" / f"{name}.bin")
    (place / "tiny.yaml").write_text(SETTINGS)
    for name, overrides in {"free": (), "frozen": ("depthwise.filters=keys", "depthwise.learn=none")}.items():
        train(read_recipe(place / "tiny.yaml", [f"data.source={place / 'digits'}", *overrides]), place / name)
    return place


def test_it_writes_a_page_and_a_table(folder):
    done = run("compare", "free", "frozen", "-o", "both", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "keys, frozen" in done.stdout
    assert "report: both/report.html" in done.stdout
    assert sorted(path.name for path in (folder / "both").iterdir()) == ["report.html", "runs.csv"]
    with (folder / "both" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["condition"], row["free_depthwise_parameters"]) for row in rows] == [
        ("free", "free", str(8 * 49)),
        ("frozen", "keys, frozen", "0"),
    ]
    again = run("compare", "free", "-o", "both", "--force", "--json", cwd=folder)
    assert [row["run"] for row in json.loads(again.stdout)] == ["free"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("digits",),
            "scalekeys: digits: is no folder of a training, it has no recipe.yaml; give what scalekeys train",
        ),
        (("free", "free"), "scalekeys: free: is given twice; give every training once"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(folder, arguments, message):
    done = run("compare", *arguments, "-o", "none", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (folder / "none").exists()
