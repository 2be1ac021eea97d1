"""Input that is damaged or hostile, as a user meets it: one sentence, or a row of failures, and no traceback."""

import csv
import os
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from command_line import assert_one_sentence, run, run_process
from safetensors.torch import save_file

SAFE = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """An atlas in a folder of files with strange names, of which one is a network of a good name."""
    folder = tmp_path_factory.mktemp("strange")
    save_file({"dw.weight": torch.rand(2, 1, 3, 3)}, folder / "=1+1.safetensors")
    save_file({"dw.weight": torch.rand(2, 1, 3, 3)}, folder / "[bold]:smile:é.safetensors")
    for name in (b"caf\xe9.safetensors", b"two\nlines.safetensors", b"\x1b[31mred.safetensors"):
        (folder / os.fsdecode(name)).write_text("not weights")
    os.mkfifo(folder / "pipe.safetensors")
    result = run_process("atlas", "build", "*.safetensors", "-o", "atlas", "--workers", 0, cwd=folder, **SAFE)
    return folder, result


def test_names_that_are_no_text_are_rows_of_failures_and_shown_safely(atlas):
    folder, result = atlas
    assert (result.returncode, result.stderr) == (0, "")
    assert all(line.isprintable() and line.isascii() for line in result.stdout.splitlines())
    failures = pq.read_table(folder / "atlas" / "failures.parquet").to_pydict()
    assert failures["source"] == [
        "\\x1b[31mred.safetensors",
        "caf\\udce9.safetensors",
        "pipe.safetensors",
        "two\\nlines.safetensors",
    ]
    assert "caf\\udce9.safetensors: a name must consist of printable characters in UTF-8; rename it" in result.stdout
    again = run("atlas", "build", "*.safetensors", "-o", "atlas", "--workers", 0, "--json", cwd=folder)
    assert (again.returncode, again.stdout.count('"source"')) == (0, 4)


def test_a_terminal_without_unicode_shows_an_answer(atlas):
    query = "select source from networks union select source from failures order by all"
    result = run_process("atlas", "query", "atlas", query, cwd=atlas[0], **SAFE)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.strip() for line in result.stdout.splitlines()[1:3]]
    assert lines == ["=1+1.safetensors", "[bold]:smile:\\xe9.safetensors"]


def test_no_cell_of_a_csv_file_is_a_formula_and_a_list_is_read_back(atlas):
    folder, _ = atlas
    query = "select source, '-0.5' as number, -0.5 as other, '@x' as \"=name\" from networks order by source"
    assert run("atlas", "query", "atlas", query, "-o", "list.csv", cwd=folder).returncode == 0
    with (folder / "list.csv").open(newline="", encoding="utf-8") as file:
        assert next(iter(csv.reader(file))) == ["source", "number", "other", "'=name"]
        assert next(iter(csv.reader(file))) == ["'=1+1.safetensors", "-0.5", "-0.5", "'@x"]
    result = run("atlas", "build", "list.csv", "-o", "again", "--workers", 0, cwd=folder)
    assert (result.returncode, result.stdout.partition("\n")[0]) == (0, "2 networks with 4 filters")
    row = pq.read_table(folder / "again" / "networks.parquet").to_pylist()[0]
    assert (row["source"], row["number"], row["=name"]) == ("=1+1.safetensors", -0.5, "@x")


def test_an_output_that_takes_nothing_is_one_sentence(atlas):
    with Path("/dev/full").open("w") as full:
        for arguments in (("atlas", "query", "atlas", "select 1"), ("--version",)):
            result = run_process(*arguments, cwd=atlas[0], stdout=full)
            assert_one_sentence(result, "the standard output cannot be written (No space left on device)")


def test_a_message_is_one_line_of_bounded_length(atlas):
    query = "select " + "x" * 5000 + "\n from filters"
    assert_one_sentence(run("atlas", "query", "atlas", query, cwd=atlas[0]), "the query cannot be answered", "...")
    assert_one_sentence(run("analyze", "y" * 4000, "-o", "out", cwd=atlas[0]), "yyy...yyy")
    assert_one_sentence(run("atlas", "query", "atlas", b"select \xff", cwd=atlas[0]), "the query cannot be answered")


def pipe(folder, name):
    os.mkfifo(folder / name)


def device(folder, name):
    (folder / name).symlink_to("/dev/zero")


def connection(folder, name):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(folder / name))


@pytest.mark.parametrize("make", [pipe, device, connection])
def test_what_is_no_regular_file_is_never_waited_for(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "recipe.yaml")
    make(tmp_path, "list.csv")
    for arguments, name in (("train recipe.yaml", "recipe.yaml"), ("atlas build list.csv -o a", "list.csv")):
        result = run(*arguments.split(), cwd=tmp_path)
        assert_one_sentence(result, f"{name}: cannot be read (it is not a regular file)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "recipe.yaml"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("data: " + "[" * 5000, "recipe.yaml: has more than 10000 values"),
        (BOMB, "counting aliases as what they stand for"),
        ('data: {source: "\\U00110000"}', "recipe.yaml: has a value that YAML cannot read"),
        ("data: {source: a, size: .inf}", "data.size must be a whole number that is finite, got inf"),
    ],
)
def test_a_recipe_of_any_origin_is_one_sentence(tmp_path, text, part):
    (tmp_path / "recipe.yaml").write_text(text)
    assert_one_sentence(run("train", "recipe.yaml", cwd=tmp_path), part)


def test_files_whose_names_are_no_text_are_read_and_outputs_of_such_names_refused(tmp_path):
    torch.save({"dw.weight": torch.rand(8, 1, 3, 3)}, tmp_path / "net.pth")
    (tmp_path / "net.pth").rename(tmp_path / os.fsdecode(b"caf\xe9.pth"))
    result = run_process("analyze", b"caf\xe9.pth", "-o", "out", cwd=tmp_path, **SAFE)
    assert (result.returncode, result.stderr) == (0, "")
    table = pq.read_table(tmp_path / "out" / "filters.parquet")
    assert set(table["model"].to_pylist()) == {"caf\\udce9"}
    refused = run("analyze", b"caf\xe9.pth", "-o", b"out\xff", cwd=tmp_path)
    assert_one_sentence(refused, "name another output")
    refused = run("atlas", "build", b"caf\xe9.pth", "-o", b"atlas\xff", "--workers", 0, cwd=tmp_path)
    assert_one_sentence(refused, "is a name that is not UTF-8")
