"""``scalekeys atlas`` as a user runs it."""

import csv
import json

import pyarrow.parquet as pq
import pytest
import torch
from command_line import run
from safetensors.torch import save_file

from scalekeys.atlas import NAMED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two networks and a file that is none, and an atlas of them."""
    folder = tmp_path_factory.mktemp("atlas")
    for number in range(2):
        save_file({"dw.weight": torch.rand(4, 1, 3, 3) + number}, folder / f"net{number}.safetensors")
    (folder / "bad.pth").write_text("not weights")
    (folder / "list.csv").write_text("source,accuracy\nnet0.safetensors,0.5\n")
    result = run("atlas", "build", "list.csv", "*.safetensors", "bad.pth", "-o", "atlas", "--workers", 0, cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("2 networks with 8 filters\n")
    assert "not read: 1 (atlas/failures.parquet)\n  bad.pth: is a text file" in result.stdout
    return folder


def query(folder, *arguments):
    return run("atlas", "query", "atlas", *arguments, cwd=folder)


def test_building_again_tells_what_was_left_to_do(folder):
    result = run("atlas", "build", "*.safetensors", "-o", "atlas", "--workers", 1, "--json", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    assert {name: summary[name] for name in ("networks", "filters", "duplicates", "analysed", "kept")} == {
        "networks": 2,
        "filters": 8,
        "duplicates": 0,
        "analysed": 0,
        "kept": 2,
    }
    assert [failure["source"] for failure in summary["failures"]] == ["bad.pth"]


def test_sources_of_which_none_can_be_read_are_an_error(folder, tmp_path):
    result = run("atlas", "build", folder / "bad.pth", "-o", "out", "--workers", 0, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("scalekeys: none of the sources could be read; the first: ")
    assert pq.read_table(tmp_path / "out" / "failures.parquet").num_rows == 1


def test_a_pattern_that_fits_nothing_writes_nothing(tmp_path):
    result = run("atlas", "build", "*.pth", "-o", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        1,
        "scalekeys: *.pth: no file or folder fits this pattern; check it\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_a_table(folder):
    result = query(folder, "select channel, source, r2, stride from filters order by all limit 2")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["channel", "source", "r2", "stride"]
    assert [line[:2] + line[3:] for line in lines[1:]] == [
        ["0", "net0.safetensors", "-"],
        ["0", "net1.safetensors", "-"],
    ]


def test_a_long_answer_is_cut_on_the_terminal_only(folder):
    result = query(folder, "from range(1000)")
    assert result.stdout.splitlines()[-1] == "... and more; -o FILE.csv or -o FILE.parquet takes all rows"
    assert len(result.stdout.splitlines()) == 102
    assert query(folder, "from range(1000)", "-o", "all.csv").returncode == 0
    assert len((folder / "all.csv").read_text().splitlines()) == 1001


def test_an_answer_is_written_as_csv_or_parquet(folder):
    sql = "select source, channel, r2, coefficients, [r2, null] as pair from filters order by all"
    assert query(folder, sql, "-o", "rows.parquet").stdout == ""
    assert query(folder, sql, "-o", "rows.csv").stdout == ""
    table = pq.read_table(folder / "rows.parquet")
    assert table.column_names == ["source", "channel", "r2", "coefficients", "pair"]
    header, first, *_ = (folder / "rows.csv").read_text().splitlines()
    assert header == '"source","channel","r2","coefficients","pair"'
    r2 = table["r2"][0].as_py()
    assert first == f'"net0.safetensors",0,{r2},,"[{r2}, null]"'


def test_types_that_csv_does_not_know_become_words(folder):
    sql = "select interval 3 days as a, 'x'::blob as b, 'y'::enum('y') as c, {'d': 1.5} as d, 2::decimal(4, 1) as e"
    assert query(folder, sql, "-o", "words.csv").returncode == 0
    (row,) = csv.reader((folder / "words.csv").read_text().splitlines()[1:])
    assert row == ["[0, 3, 0]", "78", "y", '{"d": 1.5}', "2.0"]


def test_an_answer_is_printed_whole_on_a_narrow_terminal(folder, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes a terminal of the output
    word = 200 * "x"
    assert query(folder, f"select '{word}' as word, 0.5 as number").stdout.splitlines()[1] == f"{word}     0.5"


def test_json_has_null_for_what_is_no_number(folder):
    result = query(
        folder,
        "select 'nan'::double as a, 1.5::decimal(4, 2) as b, date '2020-01-01' as c, [1] as d, ['x'::blob] as e",
        "--json",
    )
    assert json.loads(result.stdout) == [{"a": None, "b": 1.5, "c": "2020-01-01", "d": [1], "e": ["78"]}]


def test_a_sum_of_whole_numbers_is_a_whole_number(folder):
    sql = "select sum(range) as sum from range(100000)"
    assert query(folder, sql).stdout.split() == ["sum", "4999950000"]
    assert '"sum": 4999950000\n' in query(folder, sql, "--json").stdout


def test_named_queries_are_in_the_help_and_answer(folder):
    help_ = "".join(run("atlas", "query", "--help", cwd=folder).stdout.split())
    assert [name for name in NAMED if name not in help_] == []
    assert query(folder, "r2-by-kernel-size").stdout.split()[:2] == ["kernel", "networks"]


@pytest.mark.parametrize("word", ["show", "DESCRIBE"])
def test_a_word_of_sql_is_answered(folder, word):
    names = [row["name"] for row in json.loads(query(folder, word, "--json").stdout)]
    assert {"filters", "networks", "failures", "left_out"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select * from read_text('list.csv')",), "scalekeys: the query cannot be answered: Permission Error"),
        (("offset",), "scalekeys: no query is called 'offset' (did you mean offsets?); there are scales-by-depth, "),
        (("select 1", "-o", "rows.txt"), "scalekeys: rows.txt: rows are written into .csv and .parquet files"),
        (("select 1", "-o", "list.csv"), "scalekeys: list.csv: exists already; give --force"),
        (("select error('x') from filters", "-o", "new.csv"), "scalekeys: the query cannot be answered: "),
        (("select interval 1 day", "-o", "new.parquet"), "scalekeys: new.parquet: the answer has a column of a type"),
    ],
)
def test_a_bad_question_is_one_sentence_and_no_file(folder, arguments, message):
    before = sorted(folder.rglob("*"))
    result = query(folder, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_wrong_usage_ends_with_status_2(tmp_path):
    for arguments in (
        ("build",),
        ("build", "x.pth"),
        ("build", "x", "-o", "y", "--workers", "-1"),
        ("query", "x"),
        ("query", "x", "select 1", "-o", "rows.csv", "--json"),
        ("x",),
    ):
        result = run("atlas", *arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_what_is_left_out_is_a_table(tmp_path):
    state = {"dw.weight": torch.rand(4, 1, 3, 3), "blur.filt": torch.ones(8, 1, 3, 3)}
    save_file(state, tmp_path / "net.safetensors")
    result = run("atlas", "build", "net.safetensors", "-o", "atlas", "--workers", 0, cwd=tmp_path)
    assert (
        "left out: 1 tensors or layers of networks (atlas/left_out.parquet)\n  net.safetensors: blur.filt ("
        in result.stdout
    )
    answer = json.loads(query(tmp_path, "select * from left_out", "--json").stdout)
    row = {"network": "net.safetensors", "name": "blur.filt", "shape": [8, 1, 3, 3]}
    assert answer == [{**row, "reason": "its name 'filt' is not that of a weight"}]
    again = run("atlas", "build", "net.safetensors", "-o", "atlas", "--workers", 0, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["left_out"][0]["name"] == "blur.filt"
    (tmp_path / "atlas" / "left_out.parquet").unlink()  # as an atlas of before has none
    assert json.loads(query(tmp_path, "select * from left_out", "--json").stdout) == []


def test_an_atlas_is_exported_and_merged(folder, tmp_path):
    result = run("atlas", "export", folder / "atlas", "-o", "shared", "--licence", "CC0-1.0", cwd=tmp_path)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("2 sources, 8 filters, 1 failure, 0 left out: 7 files, 0.")
    assert lines[-1] == "card:   shared/README.md"
    again = run("atlas", "export", folder / "atlas", "-o", "shared", cwd=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "shared: is not empty; give --force" in again.stderr
    result = run("atlas", "export", folder / "atlas", "-o", "shared", "--keep-paths", "--force", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["renamed"] == 0

    result = run("atlas", "merge", "shared", folder / "atlas", "-o", "both", cwd=tmp_path)
    assert result.stdout.startswith("2 networks with 8 filters\nnot read: 1 (both/failures.parquet)\n")
    twice = run(
        "atlas", "merge", "shared", folder / "atlas", "--prefix", "a", "--prefix", "b", "-o", "two", cwd=tmp_path
    )
    assert twice.stdout.startswith("2 networks (2 more under another name) with 8 filters\nnot read: 2")
    for name in ("shared", "both"):
        counted = run("atlas", "query", name, "select count(*) as n from filters", "--json", cwd=tmp_path)
        assert json.loads(counted.stdout) == [{"n": 8}]
        assert run("atlas", "report", name, "-o", f"report-{name}", cwd=tmp_path).returncode == 0
    nothing = run("atlas", "merge", "shared", "nowhere", "-o", "other", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout, nothing.stderr.count("\n")) == (1, "", 1)
    assert "nowhere: holds neither an atlas nor an export" in nothing.stderr
    assert not (tmp_path / "other").exists()
