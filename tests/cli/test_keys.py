"""``scalekeys keys`` as a user runs it: a process, its output, its exit status, and the files it leaves."""

import json
import re
from inspect import signature
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from command_line import run, run_process
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.checkpoints import read_filters
from scalekeys.cli.commands.keys import keys as verb
from scalekeys.clustering import COVERED, SYMMETRIES, WEIGHTINGS

FILES = ["keys.csv", "keys.npy", "members.parquet", "report.html"]


def _copies(seed, count):
    """Noisy copies of the published keys, of both signs, with offsets; and one filter without a shape."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randn(count, 1, 1, 1, generator=generator).sign()
    noise = torch.randn(count, 1, 7, 7, generator=generator)
    return (signs * (sk.master_keys().repeat(count // 8, 1, 1)[:, None] + 0.02 * noise) + 0.3).float()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks")
    constant = torch.cat([torch.ones(1, 1, 7, 7), _copies(0, 64)])
    save_file({"blocks.0.dw.weight": constant, "blocks.1.dw.weight": _copies(1, 64)}, path / "one.safetensors")
    save_file({"a.weight": _copies(2, 64), "b.weight": torch.rand(8, 1, 3, 3)}, path / "two.safetensors")
    return path


@pytest.fixture(scope="module", autouse=True)
def _short_curves():
    """Numbers of keys are compared up to 9, of which 8 is right; 16 would take three times as long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("scalekeys.cli.work.keys.MOST", 9)
        yield


@pytest.fixture(scope="module")
def done(folder):
    return run("keys", "one.safetensors", "-o", "found", "--restarts", 3, cwd=folder)


def test_it_writes_its_files_and_prints_the_keys(folder, done):
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (folder / "found").iterdir()) == FILES
    assert "one: 128 filters (1 left out) in 2 layers" in done.stdout
    lines = [re.split(" {2,}", line.strip()) for line in done.stdout.splitlines()]
    rows = [cells for cells in lines if len(cells) == 9 and cells[0].isdigit()]
    assert [row[0] for row in rows] == [str(key) for key in range(8)]
    assert sum(int(row[1]) for row in rows) == 128
    assert {row[7] for row in rows} == {f"{i} {name}" for i, name in enumerate(sk.MASTER_KEY_FAMILIES, 1)}
    assert all(float(row[8]) > 0.99 for row in rows)
    noise = r"\(matched noise: \d\d\.\d %, white noise: \d\d\.\d %\)"
    assert re.search(rf"explained: 9\d\.\d % of their energy {noise}", done.stdout)
    assert "only the excess is shape" in done.stdout
    assert "covered: 100.0 % correlate with their key by 0.8 or more" in done.stdout
    assert "recommended k = 8: " in done.stdout
    assert "report:  found/report.html" in done.stdout


def test_the_table_fits_a_common_terminal(done):
    rows = [line for line in done.stdout.splitlines() if re.match(r"(key|  \d) ", line)]
    assert len(rows) == 9
    assert max(map(len, rows)) < 80


def test_the_keys_are_those_of_the_library_and_can_be_read_back(folder, done):
    expected = sk.cluster(sk.extract(folder / "one.safetensors"), 8, restarts=3)
    array = np.load(folder / "found" / "keys.npy")
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, expected.filters, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(read_filters(folder / "found" / "keys.csv"), array)
    members = pq.read_table(folder / "found" / "members.parquet").to_pandas()
    assert members.columns.tolist() == ["model", "layer", "depth", "channel", "key", "correlation", "transform"]
    assert len(members) == 129
    assert members.key.isna().sum() == 1
    assert members.key.value_counts().to_dict() == dict(enumerate(expected.counts.tolist()))


def test_several_sources_share_their_keys_and_json_holds_the_figures(folder):
    arguments = ("one.safetensors", "two.safetensors", "-k", 8, "--restarts", 2, "--no-curve", "--threshold", 0.95)
    result = run("keys", *arguments, "-o", "both", "--json", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    members = pq.read_table(folder / "both" / "members.parquet").to_pandas()
    assert summary["models"] == ["one", "two"]
    assert summary["filters"] == len(members) == 201
    assert summary["left_out"] == members.key.isna().sum() == 1
    assert [key["members"] for key in summary["keys"]] == members.key.value_counts().sort_index().tolist()
    known = members.dropna(subset="key")
    assert summary["threshold"] == 0.95
    assert summary["coverage"] == pytest.approx((known.correlation.abs() >= 0.95).mean())
    assert summary["explained"] == pytest.approx((known.correlation**2).mean())
    assert summary["white_noise"] < summary["matched_noise"] < summary["explained"]
    assert (summary["curve"], summary["best_k"], summary["reason"]) == ([], None, None)
    assert [(layer["model"], layer["layer"], layer["filters"]) for layer in summary["layers"]] == [
        ("one", "blocks.0.dw", 64),
        ("one", "blocks.1.dw", 64),
        ("two", "a", 64),
        ("two", "b", 8),
    ]
    page = (folder / "both" / "report.html").read_text(encoding="utf-8")
    assert "200 filters in 4 layers of 2 networks" in page


def test_options_reach_the_search(folder):
    options = ("--sizes", "3x3", "--layers", "b", "--layers", "blocks.*", "--weighting", "energy")
    result = run("keys", "two.safetensors", *options, "-k", 2, "--no-curve", "--json", "-o", "small", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    assert (summary["size"], summary["weighting"], summary["left_out"]) == ("3x3", "energy", 64)
    turned = ("--symmetry", "dihedral", "--sizes", "common", "--no-curve", "--json", "-o", "turned")
    summary = json.loads(run("keys", "two.safetensors", *turned, "-k", 3, cwd=folder).stdout)
    assert (summary["size"], summary["symmetry"], len(summary["keys"])) == ("3x3", "dihedral", 3)


def test_auto_takes_the_recommended_number(folder):
    half = ("--layers", "blocks.0.dw", "--restarts", 2)
    result = run("keys", "one.safetensors", "-k", "auto", *half, "--json", "-o", "auto", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    assert len(summary["keys"]) == summary["best_k"] == 8
    assert [point["k"] for point in summary["curve"]] == list(range(1, 10))


def test_a_number_that_is_not_the_recommended_one_is_explained(tmp_path):
    kernels = torch.rand(12, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    save_file({"a.weight": kernels}, tmp_path / "a.safetensors")
    result = run("keys", "a.safetensors", "-k", 5, "--restarts", 1, "-o", "out", cwd=tmp_path)
    assert "; shown are 5, as -k says (-k auto takes the recommended number)" in result.stdout


def test_one_filter_is_its_own_key(tmp_path):
    save_file({"a.weight": torch.cat([torch.ones(1, 1, 5, 5), torch.rand(1, 1, 5, 5)])}, tmp_path / "a.safetensors")
    result = run("keys", "a.safetensors", "-k", "auto", "-o", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert np.load(tmp_path / "out" / "keys.npy").shape == (1, 5, 5)


def test_the_same_input_gives_the_same_bytes(folder):
    for name, called in (("first", run), ("second", run_process)):
        assert called("keys", "two.safetensors", "-k", 3, "--no-curve", "-o", name, cwd=folder).returncode == 0
    for file in FILES:
        assert (folder / "first" / file).read_bytes() == (folder / "second" / file).read_bytes()


def test_an_existing_folder_is_kept_unless_forced(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keys.csv").write_text("mine")
    arguments = ("keys", folder / "two.safetensors", "-k", 2, "--no-curve", "-o", "out")
    refused = run(*arguments, cwd=tmp_path)
    assert refused.returncode == 1
    assert "out: this output folder exists already; give --force" in refused.stderr
    assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("keys.csv", "mine")]
    assert run(*arguments, "--force", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dense.safetensors",), "no depthwise"),
        (("two.safetensors", "missing.pth"), "missing.pth: no such file"),
        (("two.safetensors", "--layers", "head.*"), "no layer is called 'head.*'; the layers are a, b"),
        (("two.safetensors", "--sizes", "5x5"), "no layer has kernels of 5x5; the sizes are 7x7, 3x3"),
        (("two.safetensors", "-k", "500"), "cannot find 500 keys in 72 usable filters"),
        (("two.safetensors", "--weights", "ema"), "ema"),
    ],
)
def test_a_bad_input_gets_one_sentence_and_writes_nothing(folder, tmp_path, arguments, message):
    for name in ("one.safetensors", "two.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    save_file({"conv.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "dense.safetensors")
    before = sorted(tmp_path.iterdir())
    result = run("keys", *arguments, "--no-curve", "-o", "out/deep", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("scalekeys: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-k", "many"), "'many' is neither a number from 1 nor auto"),
        (("-k", "0"), "'0' is neither a number from 1 nor auto"),
        (("-k", "auto", "--no-curve"), "auto compares numbers of keys"),
        (("--weighting", "loud"), "'loud' is not one of 'equal', 'energy'"),
        (("--symmetry", "round"), "'round' is not one of 'none', 'dihedral'"),
        (("--sizes", "7x"), "'7x' is none of largest, common and a size like 7x7 or 31"),
        (("--sizes", "3x3x3x3"), "'3x3x3x3' is none of"),
        (("--axes", "4"), "axes"),
        (("--kinds", "strange"), "'strange' is not one of 'depthwise', 'grouped', 'ordinary', 'all'"),
        (("--sizes", "7x0"), "'7x0' is none of"),
        (("--restarts", "0"), "restarts"),
        (("--threshold", "1.2"), "threshold"),
    ],
)
def test_an_unknown_value_of_an_option_is_wrong_usage(tmp_path, arguments, message):
    result = run("keys", "x.pth", "-o", "out", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_verb_offers_what_the_library_does():
    hints = get_type_hints(verb)
    assert get_args(hints["weighting"]) == WEIGHTINGS
    assert get_args(hints["symmetry"]) == SYMMETRIES
    assert signature(verb).parameters["threshold"].default == COVERED


@pytest.mark.parametrize(("size", "filters"), [("7x7", 1544 - 80), ("5x5", 744 - 39)])  # less the dead ones
def test_a_real_network_has_keys(shared, tmp_path, size, filters):
    file = shared / "weights" / "mcunet-320kb-1mb_imagenet.pth"
    result = run("keys", file, "--sizes", size, "--no-curve", "--json", "-o", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["filters"] - summary["left_out"] == filters
    assert summary["explained"] > 2 * summary["white_noise"]
    assert summary["explained"] > summary["matched_noise"]
    assert sum(key["published_correlation"] > 0.9 for key in summary["keys"]) >= 4


def test_what_is_not_read_is_shown_with_its_network(tmp_path):
    for name in ("one", "two"):
        save_file({"dw.weight": _copies(0, 16), "blur.filt": torch.ones(8, 1, 3, 3)}, tmp_path / f"{name}.safetensors")
    options = ("one.safetensors", "two.safetensors", "-k", 2, "--restarts", 1, "--no-curve")
    result = run("keys", *options, "-o", "found", cwd=tmp_path)
    assert "  two: blur.filt (8x1x3x3): its name 'filt' is not that of a weight\n" in result.stdout
    assert "What is left out" in (tmp_path / "found" / "report.html").read_text()
    summary = json.loads(run("keys", *options, "-o", "again", "--json", cwd=tmp_path).stdout)
    assert [one["name"] for one in summary["not_read"]] == ["one: blur.filt", "two: blur.filt"]


@pytest.fixture
def listed(folder):
    """A list of three networks of two tasks, and of one whose task is not known."""
    names = {"one": "day", "two": "night", "again": "night", "other": ""}
    for name in ("again", "other"):
        save_file({"a.weight": _copies(len(name), 64)}, folder / f"{name}.safetensors")
    lines = ["source,task", *(f"{name}.safetensors,{task}" for name, task in names.items())]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder


def test_holding_out_shows_what_keys_of_the_other_networks_explain(listed):
    options = ("--hold-out", "task", "--sizes", "7x7", "--restarts", 1, "--no-curve", "--json")
    result = run("keys", "list.csv", *options, "-o", "universal", cwd=listed)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)["held_out"]
    assert (found["column"], found["k"]) == ("task", 8)
    assert found["notes"] == ["sources without task are left out: 1 of 4"]
    assert [(group["group"], group["networks"], group["filters"]) for group in found["groups"]] == [
        ("day", 1, 128),
        ("night", 2, 128),
    ]
    for group in found["groups"]:
        assert group["own"] > 0.97 < group["published"]
        assert group["white_noise"] < 0.5 < group["matched_noise"] < group["held_out"]
    rows = pd.read_csv(listed / "universal" / "held_out.csv").set_index("network")
    assert rows.part.to_dict() == {"one": 1.0, "two": 0.5, "again": 0.5}
    assert rows.held_out[["two", "again"]].mean() == pytest.approx(found["groups"][1]["held_out"])


def test_held_out_groups_stand_in_a_table(listed):
    options = ("--hold-out", "task", "--sizes", "7x7", "--restarts", 1, "--no-curve", "-k", 2)
    result = run("keys", "list.csv", *options, "-o", "table", cwd=listed)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"task +networks +own +others +published +matched +white +random\n", result.stdout)
    assert re.search(r"night +2( +\d\d?\.\d %){6}\n", result.stdout)
    assert "held out: table/held_out.csv" in result.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("list.csv", "no source has a value in a column 'place'; the columns are task"),
        ("one.safetensors", "no source has a value in a column 'place'; give a .csv list of sources that has it"),
    ],
)
def test_a_column_that_no_list_has_is_refused(listed, tmp_path, source, message):
    result = run("keys", listed / source, "--hold-out", "place", "-o", tmp_path / "out", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
