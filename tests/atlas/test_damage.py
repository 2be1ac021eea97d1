"""Atlases whose files are damaged: one sentence that names the file, or everything as before; nothing is lost."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from atlas_cases import assert_same, checkpoints

import scalekeys as sk
from scalekeys.atlas.journal import Entry
from scalekeys.atlas.layout import Layout
from scalekeys.errors import AtlasError, one_line

MISSING = "missing.pth"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with two networks and an atlas of them, and of one that is not there; with metadata."""
    folder = tmp_path_factory.mktemp("whole")
    checkpoints(folder, 2)
    (folder / "list.csv").write_text(f"source,accuracy\nnet0.safetensors,0.5\nnet1.safetensors,0.25\n{MISSING},0.5\n")
    sk.atlas.build([folder / "list.csv"], folder / "atlas")
    return folder


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of the atlas, to be damaged."""
    shutil.copytree(whole / "atlas", tmp_path / "atlas")
    return Layout(tmp_path / "atlas")


def rebuilt(whole, layout):
    """Build again, with the list or with one network of it, and compare with the whole atlas."""
    sk.atlas.build([whole / "net0.safetensors"], layout.folder)
    assert_same(layout.folder, whole / "atlas")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": Infinity, "seed": 0}',
        '{"schema": 1, "seed": 1e999}',
        '{"schema": true, "seed": 0}',
        '{"schema": 1, "seed": "0"}',
        '{"seed": 0}',
        "[1, 0]",
        "\0",
    ],
)
def test_damaged_settings_are_refused_with_what_to_write(whole, damaged, text):
    damaged.settings.write_text(text)
    for use in (sk.atlas.open, lambda folder: sk.atlas.build([whole / "net0.safetensors"], folder)):
        with pytest.raises(AtlasError, match=r'atlas\.json: is damaged .*; write \{"schema": 4, "seed": 0\} into it'):
            use(damaged.folder)


def test_a_flipped_bit_of_the_journal_is_noticed_and_nothing_is_lost(whole, damaged):
    content = damaged.journal.read_bytes()
    known = [Entry.parsed(line) for line in content.decode().splitlines()]
    assert None not in known
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 7
        entries = [Entry.parsed(line) for line in bytes(flipped).decode(errors="replace").split("\n")]
        assert [entry for entry in entries if entry is not None and entry not in known] == []
    for position in range(0, len(content), len(content) // 5):
        flipped = bytearray(content)
        flipped[position] ^= 4
        damaged.journal.write_bytes(flipped)
        rebuilt(whole, damaged)


@pytest.mark.parametrize(
    "change",
    [
        {"source": 0},
        {"metadata": 10**300},
        {"metadata": {"a": 1}},
        {"signature": None},
        {"read": {"content": "../../x", "model": "m", "layers": 1, "filters": 1, "notes": []}},
        {"read": {"content": "0" * 64, "model": float("nan"), "layers": 1, "filters": 1, "notes": []}},
        {"read": {"content": "0" * 64, "model": "m", "layers": 2**40, "filters": 1, "notes": []}},
        {"read": {"content": "0" * 64, "model": "\ud800", "layers": 1, "filters": 1, "notes": ["a"]}},
        {"failed": {"error": 1, "reason": "x"}},
        {"more": 1},
    ],
)
def test_a_line_with_a_wrong_value_is_none(whole, change):
    (line, *_) = (whole / "atlas" / "journal.jsonl").read_text().splitlines()
    known = json.loads(line) | change
    del known["check"]
    assert Entry.parsed(json.dumps(known)) is None
    assert Entry.parsed("[" * 100_000) is None


def test_what_the_journal_lost_is_taken_from_the_tables(whole, damaged):
    damaged.journal.write_text("")
    rebuilt(whole, damaged)
    damaged.journal.unlink()
    rebuilt(whole, damaged)


def test_what_is_left_out_of_a_network_survives_the_loss_of_the_journal(whole, tmp_path):
    weights = {"dw.weight": torch.randn(8, 1, 3, 3), "blur.filt": torch.randn(8, 1, 3, 3)}
    torch.save(weights, tmp_path / "net.pth")
    layout = Layout(tmp_path / "atlas")
    sk.atlas.build([tmp_path / "net.pth"], layout.folder)
    before = pq.read_table(layout.left_out)
    assert before["name"].to_pylist() == ["blur.filt"]
    layout.journal.unlink()
    sk.atlas.build([whole / "net0.safetensors"], layout.folder)
    assert pq.read_table(layout.left_out) == before


def without_column(table):
    return table.drop(["content_hash"])


def with_column(value, kind=None):
    return lambda table: table.set_column(2, "content_hash", pa.array([value] * len(table), kind or pa.string()))


@pytest.mark.parametrize(
    "change",
    [
        without_column,
        with_column("x" * 400),
        with_column("../../../etc/passwd"),
        with_column(None),
        with_column(1.5, pa.float64()),
        lambda table: table.rename_columns(["source", "source", *table.column_names[2:]]),
        lambda table: table.set_column(0, "source", pa.array([b"\xff"] * len(table), pa.binary()).view(pa.string())),
    ],
)
def test_a_damaged_table_is_named_and_a_build_writes_it_again(whole, damaged, change):
    pq.write_table(change(pq.read_table(damaged.networks)), damaged.networks)
    with pytest.raises(AtlasError, match=r"networks\.parquet: is damaged .*writes it again"):
        sk.atlas.open(damaged.folder)
    rebuilt(whole, damaged)
    assert len(sk.atlas.open(damaged.folder).sql("select * from filters").to_arrow()) == 36


def test_a_flipped_bit_in_the_rows_of_filters_is_noticed_and_the_file_is_named(whole, damaged):
    rows = next(damaged.filters.glob("*.parquet"))
    content = bytearray(rows.read_bytes())
    content[len(content) // 4] ^= 1
    rows.write_bytes(content)
    with pytest.raises(AtlasError, match=rf"{rows.name}: is damaged .*; remove it, and build again with its source"):
        sk.atlas.open(damaged.folder).sql("select * from filters").to_arrow()
    rows.unlink()
    sk.atlas.build([whole / "list.csv"], damaged.folder)
    assert_same(damaged.folder, whole / "atlas")


def test_rows_of_the_right_version_and_of_another_form_are_made_again(whole, damaged):
    rows = next(damaged.filters.glob("*.parquet"))
    table = pq.read_table(rows)
    pq.write_table(table.drop(["r2"]).replace_schema_metadata(table.schema.metadata), rows)
    sk.atlas.build([whole / "list.csv"], damaged.folder)
    assert_same(damaged.folder, whole / "atlas")


def test_messages_are_one_line_of_bounded_length():
    assert one_line("a" * 10_000 + "\n\x1b") == f"{'a' * 239}...{'a' * 232}\\n\\x1b"
    assert str(AtlasError("x" * 481)).startswith("xxx")
    assert len(str(AtlasError("x\n" * 5000))) == 480


def test_a_home_of_nobody_and_a_name_that_is_too_long_are_failures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("~nobody-of-this-name/a.pth\n" + "x" * 5000 + "\na\0b.pth\nbuiltin:master-keys\n")
    summary = sk.atlas.build(["list.txt"], "atlas")
    assert (summary.networks, len(summary.failures)) == (1, 3)
