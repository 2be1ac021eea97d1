"""``scalekeys paper`` as a user runs it."""

import json
from unittest import mock

import numpy as np
import pytest
from command_line import run

from scalekeys.paper import study


@pytest.fixture(scope="module")
def done(tmp_path_factory, once):
    folder = tmp_path_factory.mktemp("paper")
    with mock.patch("scalekeys.cli.work.paper.study", return_value=once(study)):
        return folder, run("paper", "--json", folder / "paper.json", cwd=folder)


def test_it_prints_every_table(done):
    folder, result = done
    assert (result.returncode, result.stderr) == (0, "")
    for words in ("Spatial spread", "Common scale", "Computed against published", "48 of 48 within 5e-05", "alpha"):
        assert words in result.stdout
    assert [path.name for path in folder.iterdir()] == ["paper.json"]


def test_the_numbers_for_machines_are_at_full_precision(done):
    found = json.loads((done[0] / "paper.json").read_text())
    assert found["scales"]["common"]["l2"]["5"] == pytest.approx(1.193435, abs=5e-7)
    assert found["spread"]["8"]["covariance"][0][0] == pytest.approx(2.3814, abs=5e-5)


def test_existing_output_is_kept_unless_forced(done):
    folder, _ = done
    (folder / "article").mkdir()
    before = (folder / "paper.json").read_bytes()
    for arguments in (["-o", folder / "article"], ["--json", folder / "paper.json"]):
        result = run("paper", *arguments, cwd=folder)
        assert result.returncode == 1
        assert "give --force" in result.stderr
        assert result.stdout == ""
    assert (folder / "paper.json").read_bytes() == before


def test_a_perfect_fit_has_an_article(tmp_path):
    impulse = np.zeros((1, 5, 5))
    impulse[0, 2, 2] = 1.0
    np.save(tmp_path / "impulse.npy", impulse)
    result = run("paper", "--filters", "impulse.npy", "-o", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "article: out/article.html" in result.stdout
    assert (tmp_path / "out" / "figures" / "filters.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "out" / "tables" / "spread.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["impulse.npy", "out"]


def test_numbers_are_not_cut_where_the_output_is_no_terminal(done):
    assert "\u2026" not in done[1].stdout


def test_filters_of_a_user_go_to_standard_output_as_json(tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).standard_normal((2, 3, 3)))
    options = ["--filters", "mine.npy", "--families", "dx,smooth", "--groups", "1,2", "--json", "-"]
    result = run("paper", *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["source"] == "mine.npy"
    assert set(found["scales"]["shared"]["l2"]) == {"12"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filters", "nothing.npy"], "nothing.npy: cannot be read"),
        (["--groups", "1;2"], "--groups '1;2': write numbers of filters like 1,2,3,4,8/5,6"),
        (["--groups", "9"], "a group names filter 9; the filters are 1 to 8"),
        (["--json", "out"], "out: is a folder; name a file for --json"),
        (["--families", "dx"], "families must name one family for each of the 8 filters"),
    ],
)
def test_a_bad_argument_gets_one_sentence_and_writes_nothing(tmp_path, arguments, message):
    result = run("paper", *arguments, "-o", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
