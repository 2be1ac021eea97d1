"""``scalekeys analyze`` as a user runs it: a process, its output, its exit status, and the files it leaves."""

import json
import re
from functools import partial
from typing import get_args, get_type_hints

import pyarrow.parquet as pq
import pytest
import torch
from command_line import run, run_process
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

import scalekeys as sk
from scalekeys.cli import app
from scalekeys.cli.commands.analyze import analyze as verb
from scalekeys.cli.show.analyze import _points
from scalekeys.cli.work.analyze import Filters
from scalekeys.fitting import formation
from scalekeys.fitting.ladder_steps import Difference
from scalekeys.scalespace import DISCRETIZATIONS


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 7, groups=8), nn.Conv2d(8, 8, 3, groups=8))
    with torch.no_grad():
        network[1].weight.copy_(sk.master_keys()[:, None])
    path = tmp_path_factory.mktemp("networks") / "net.pth"
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def apart(checkpoint, tmp_path_factory):
    """The command in a process of its own: the folder where it writes, and what comes of it."""
    folder = tmp_path_factory.mktemp("apart") / "out"
    return folder, run_process("analyze", checkpoint, "-o", folder, cwd=folder.parent)


def test_it_writes_a_report_and_a_table_and_prints_a_summary(apart):
    folder, result = apart
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert sorted(path.name for path in folder.iterdir()) == ["filters.parquet", "ladder.parquet", "report.html"]
    assert "16 filters in 2 layers" in result.stdout
    assert str(folder / "report.html") in result.stdout
    table = pq.read_table(folder / "filters.parquet").to_pandas()
    assert tuple(table.query("layer == '1'").family) == sk.MASTER_KEY_FAMILIES
    assert "<html" in (folder / "report.html").read_text()
    steps = pq.read_table(folder / "ladder.parquet").to_pandas()
    assert [*steps.model.unique()] == ["ideal", "second-order", "jet2", "oriented"]
    assert set(steps.layer) == set(table.layer)
    assert "beyond matched" in result.stdout
    assert "models of more numbers explain more of" in result.stdout


def test_the_ladder_has_a_heading_and_the_verdict_of_the_page(apart):
    folder, result = apart
    lines, page = result.stdout.splitlines(), (folder / "report.html").read_text()
    place = next(number for number, line in enumerate(lines) if line.startswith("step "))
    columns = "share of the energy that the models up to a step explain, what the step adds"
    assert lines[place - 1] == f"ladder: {columns}, and by how many points it exceeds matched noise"
    assert f"{columns.capitalize()}, and the part" in page
    (verdict,) = [line for line in lines if line.startswith("verdict: ")]
    steps = dict(step.split(": ") for step in verdict.removeprefix("verdict: ").split("; "))
    assert list(steps) == ["ideal", "second-order", "jet2", "oriented"]
    for step, words in steps.items():
        assert re.search(rf"<strong>{step} (explains|adds) [^:]+: {words}</strong>", page)
    assert not re.search(r"[+-]0\.0\b", result.stdout)  # as on the page, zero has no sign


@pytest.mark.parametrize(
    ("difference", "written"),
    [((-0.0004, -0.002, 0.0004), "0.0 (-0.2 to 0.0)"), ((0.123, None, None), "+12.3"), ((None, None, None), "-")],
)
def test_points_are_written_as_on_the_page(difference, written):
    assert _points(Difference(*difference)) == written


def test_a_network_of_dead_filters_is_told_in_a_line(tmp_path):
    save_file({"dw.weight": torch.zeros(4, 1, 3, 3)}, tmp_path / "dead.safetensors")
    result = run("analyze", "dead.safetensors", "-o", "out", cwd=tmp_path)
    first, *rest = result.stdout.splitlines()
    assert first == "dead: 4 filters (4 dead) in 1 layer, no filter could be fitted"
    assert [line.partition(":")[0] for line in rest] == ["status", "report", "table"]


def test_a_discretization_can_be_chosen_and_is_named_on_the_page(checkpoint, tmp_path):
    result = CliRunner().invoke(
        app,
        ["analyze", str(checkpoint), "-o", str(tmp_path / "out"), "--model", "smooth", "--discretization", "sampled"],
    )
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "out" / "filters.parquet").to_pandas()
    expected = sk.fit(sk.extract(checkpoint), "smooth", discretization="sampled")
    assert table.r2.tolist() == pytest.approx(expected.r2.tolist())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "discretization sampled" in page
    assert not (tmp_path / "out" / "ladder.parquet").exists()
    assert "ladder" not in result.output
    assert "the derivatives of the continuous Gaussian at the pixels take the place of the differences of T" in page


def test_the_discretizations_are_those_of_the_library():
    assert get_args(get_type_hints(verb)["discretization"]) == DISCRETIZATIONS


def test_a_jet_has_a_report_too(checkpoint, tmp_path):
    result = run("analyze", checkpoint, "-o", tmp_path / "out", "--model", "smooth,jet2", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    table = pq.read_table(tmp_path / "out" / "filters.parquet").to_pandas()
    jets = table[table.family == "jet2"]
    assert set(jets.coefficients.map(len)) == {6}
    assert jets.amplitude.isna().all()
    assert "free mixture of all derivatives up to order 2" in (tmp_path / "out" / "report.html").read_text()


def test_json_holds_the_figures_of_the_table(checkpoint, tmp_path):
    result = run("analyze", checkpoint, "-o", "out", "--json", cwd=tmp_path)
    summary = json.loads(result.stdout)
    table = pq.read_table(tmp_path / "out" / "filters.parquet").to_pandas()
    assert summary["quality"]["filters"] == len(table) == 16
    assert summary["quality"]["median_r2"] == pytest.approx(table.r2.median())
    assert sum(family["filters"] for family in summary["families"]) == 16
    assert [layer["name"] for layer in summary["layers"]] == ["1", "2"]
    quality = summary["quality"]
    assert quality["white_median_r2"] < quality["matched_median_r2"] < quality["median_r2"]
    assert quality["white_share_explained"] < quality["matched_share_explained"] < quality["share_explained"]
    assert [row["size"] for row in summary["orientation"]] == ["7x7", "3x3"]
    assert [row[name]["filters"] for row in summary["orientation"] for name in ("real", "matched", "white")] == [8] * 6
    assert summary["axes"] == 2
    assert [set(layer["median_sigma"]) for layer in summary["layers"]] == [{"x", "y"}] * 2


def test_both_controls_are_told_and_what_they_mean(apart):
    _, result = apart
    header = next(line for line in result.stdout.splitlines() if line.startswith("kernel"))
    assert header.split() == [
        "kernel",
        "filters",
        "median",
        "r2",
        *["matched", "white", "explained"],
        "matched",
        "white",
    ]
    assert "white noise: random filters with equal means and norms; a fit must exceed theirs\n" in result.stdout
    assert "matched noise: random filters also as smooth and as wide; only the excess is shape\n" in result.stdout
    (turned,) = [line for line in result.stdout.splitlines() if line.startswith("better explained at an angle")]
    assert [turned.count(word) for word in ("7x7", "3x3", "matched", "white")] == [1, 1, 2, 2]


@pytest.mark.parametrize(("kinds", "layers"), [("depthwise", ["1", "2"]), ("all", ["0", "1", "2"])])
def test_the_kinds_that_are_asked_for_are_read(checkpoint, kinds, layers):
    filters = Filters.read(str(checkpoint), None, kinds)
    assert [layer.name for layer in filters.bank.layers] == layers
    assert filters.source.given == str(checkpoint)


def test_ordinary_convolutions_that_are_passed_over_are_said(apart):
    folder, result = apart
    told = "only depthwise layers are read; left out: 1 ordinary (dense) convolution with kernels of more than one tap"
    assert f"note: {told} (--kinds ordinary reads these, --kinds all reads all)\n" in result.stdout
    assert told in (folder / "report.html").read_text()


def test_a_sparse_model_has_a_report_too(checkpoint, tmp_path, monkeypatch):
    few = partial(formation, reference=64)  # each of which is fitted as the filters are
    monkeypatch.setattr("scalekeys.report.analysis.summary.formation", few)
    result = run("analyze", checkpoint, "-o", "out", "--model", "sparse3", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mixture of few derivatives, chosen for each filter" in page


def test_the_same_input_gives_the_same_bytes(checkpoint, apart, tmp_path):
    assert run("analyze", checkpoint, "-o", "again", cwd=tmp_path).returncode == 0
    for file in ("report.html", "filters.parquet"):
        assert (tmp_path / "again" / file).read_bytes() == (apart[0] / file).read_bytes()


def test_an_existing_folder_is_kept_unless_forced(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    refused = run("analyze", checkpoint, "-o", "out", cwd=tmp_path)
    assert refused.returncode == 1
    assert "out: this output folder exists already; give --force" in refused.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert run("analyze", checkpoint, "-o", "out", "--force", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "filters.parquet",
        "ladder.parquet",
        "mine.txt",
        "report.html",
    ]


def _missing(path):
    pass


def _truncated(path):
    torch.save(nn.Conv2d(8, 8, 3, groups=8).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])


def _text(path):
    path.write_text("not weights at all\n" * 40)


def _dense(path):
    save_file({"conv.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.zeros(10, 4)}, path)


def _integers(path):
    save_file({"dw.weight": torch.zeros(4, 1, 3, 3, dtype=torch.int8)}, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "bad.pth"),
        (_truncated, "bad.pth"),
        (_text, "bad.pth"),
        (_dense, "no depthwise"),
        (_integers, "int8"),
    ],
)
def test_a_bad_input_gets_one_sentence_and_writes_nothing(make, words, tmp_path):
    make(tmp_path / "bad.pth")
    before = sorted(tmp_path.iterdir())
    result = run("analyze", "bad.pth", "-o", "out/deep", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("scalekeys: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_an_unknown_model_is_refused_with_what_is_allowed(checkpoint, tmp_path):
    result = run("analyze", checkpoint, "-o", "out", "--model", "dx,nonsense", cwd=tmp_path)
    assert result.returncode == 1
    assert "no family is called 'nonsense'; the families are dy+" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [("analyze",), ("analyze", "x.pth"), ("nonsense",), ("analyze", "--nonsense")])
def test_wrong_usage_ends_with_status_2(arguments, tmp_path):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_help_shows_an_example(tmp_path):
    result = run("analyze", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "Example: scalekeys analyze model.pth -o report/" in result.stdout


def test_the_version_is_printed(tmp_path):
    assert run("--version", cwd=tmp_path).stdout == f"scalekeys {sk.__version__}\n"


@pytest.mark.parametrize(
    ("file", "filters", "sizes"),
    [
        ("mcunet-320kb-1mb_imagenet.pth", 3416, {"7x7": 1544, "5x5": 744, "3x3": 1128}),
        pytest.param("lkdn_x4.pth", 2576, {"5x5": 896, "3x3": 1680}, marks=pytest.mark.slow),
    ],
)
def test_the_real_networks_are_analysed_whole(shared, tmp_path, file, filters, sizes):
    result = run("analyze", shared / "weights" / file, "-o", "out", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["quality"]["filters"] == filters
    assert {row["size"]: row["quality"]["filters"] for row in summary["sizes"]} == sizes
    for row in summary["sizes"]:
        quality = row["quality"]
        assert quality["median_r2"] > quality["matched_median_r2"] > quality["white_median_r2"]
    for row in summary["orientation"] if "mcunet" in file else ():
        assert row["real"]["high"] < row["matched"]["low"] < row["matched"]["high"] < row["white"]["low"]


def test_what_is_left_out_is_shown(tmp_path):
    keys = sk.master_keys()[:, None].float()
    extra = {f"attention.{number}.mask": torch.ones(8, 1, 3, 3) for number in range(7)}
    save_file({"dw.weight": keys, "blur.filt": torch.ones(8, 1, 3, 3), **extra}, tmp_path / "net.safetensors")
    result = run("analyze", "net.safetensors", "-o", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "left out: 8 with the shape of a kernel\n" in result.stdout
    assert "  attention.0.mask (8x1x3x3): its name 'mask' is not that of a weight\n" in result.stdout
    assert "  and 3 more, listed in report.html\n" in result.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What is left out" in page
    assert page.count("is not that of a weight</td>") == 8
    summary = json.loads(run("analyze", "net.safetensors", "-o", "again", "--json", cwd=tmp_path).stdout)
    assert len(summary["left_out"]) == 8
    reason = "its name 'filt' is not that of a weight"
    assert {"name": "blur.filt", "shape": [8, 1, 3, 3], "reason": reason} in summary["left_out"]
