"""Atlases joined into one: the same whatever their order, and the same as one that was built at once."""

import itertools
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from atlas_cases import assert_same, tables, tiny_network
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas.layout import Layout
from scalekeys.atlas.schema import SCHEMA_VERSION
from scalekeys.errors import AtlasError, OutputError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Networks, two of which are the same, and atlases of parts of them that overlap."""
    home = tmp_path_factory.mktemp("home")
    for number in range(3):
        save_file(tiny_network(number), home / f"net{number}.safetensors")
    shutil.copy(home / "net1.safetensors", home / "alias.safetensors")
    (home / "bad.pth").write_text("no network")
    (home / "a.csv").write_text("source,accuracy\nnet0.safetensors,0.50\nnet1.safetensors,\nlate.safetensors,\n")
    (home / "b.csv").write_text("source,task\nnet1.safetensors,faces\nalias.safetensors,\nnet2.safetensors,seals\n")
    sk.atlas.build([home / "a.csv"], home / "a")
    save_file(tiny_network(9) | {"blur.filt": torch.ones(8, 1, 3, 3)}, home / "late.safetensors")
    sk.atlas.build([home / "b.csv"], home / "b")
    sk.atlas.build([home / "late.safetensors", home / "net0.safetensors", home / "bad.pth"], home / "c")
    sk.atlas.build([home / "a.csv", home / "b.csv", home / "bad.pth"], home / "whole")
    return home


def merged(home, out, *names, **options):
    sk.atlas.merge([home / name for name in names], out, **options)
    return out


def everything(folder):
    return tables(folder) | {"left_out": pq.read_table(Layout(folder).left_out)}


def test_parts_that_were_built_apart_are_the_whole_in_any_order(home, tmp_path):
    for order in itertools.permutations("abc"):
        out = merged(home, tmp_path / "".join(order), *order)
        assert_same(out, home / "whole")
        assert everything(out)["left_out"].equals(everything(home / "whole")["left_out"])
        assert (out / "journal.jsonl").read_text() == (home / "whole" / "journal.jsonl").read_text()
    networks = (
        sk.atlas.open(out).sql("select source, duplicate_of, accuracy, task from networks").to_arrow().to_pylist()
    )
    names = {Path(row["source"]).stem: row for row in networks}
    assert Path(names["net1"]["duplicate_of"]).stem == "alias"
    assert (names["net0"]["accuracy"], names["net1"]["task"], names["alias"]["task"]) == (0.5, "faces", None)
    failures = sk.atlas.open(out).sql("select source from failures").to_arrow()["source"].to_pylist()
    assert list(map(Path, failures)) == [home / "bad.pth"]  # the late one could be read in another atlas


def test_merging_is_idempotent_and_associative(home, tmp_path):
    assert_same(merged(home, tmp_path / "aa", "a", "a"), home / "a")
    merged(home, tmp_path / "ab", "a", "b")
    merged(home, tmp_path / "bc", "b", "c")
    sk.atlas.merge([tmp_path / "ab", home / "c"], tmp_path / "left")
    sk.atlas.merge([home / "a", tmp_path / "bc"], tmp_path / "right")
    assert_same(tmp_path / "left", tmp_path / "right")
    sk.atlas.merge([tmp_path / "left", home / "b"], tmp_path / "more")
    assert_same(tmp_path / "left", tmp_path / "more")


def test_exports_merge_like_the_atlases_that_they_are_of(home, tmp_path):
    sk.atlas.export(home / "a", tmp_path / "a", keep_paths=True)
    assert_same(merged(tmp_path, tmp_path / "back", "a"), home / "a")
    sk.atlas.merge([tmp_path / "a", home / "a"], tmp_path / "both")
    assert_same(tmp_path / "both", home / "a")
    sk.atlas.merge([home / "c", tmp_path / "a", home / "b"], tmp_path / "whole")
    assert_same(tmp_path / "whole", home / "whole")
    sk.atlas.export(tmp_path / "whole", tmp_path / "once")
    sk.atlas.export(home / "whole", tmp_path / "again")
    once, again = (sorted((tmp_path / name / "data").rglob("*.parquet")) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_a_merged_atlas_is_gone_on_with(home, tmp_path):
    out = merged(home, tmp_path / "ab", "a", "b")
    summary = sk.atlas.build([home / "a.csv", home / "b.csv", home / "bad.pth"], out)
    assert (summary.analysed, summary.kept) == (2, 4)  # the failures alone
    assert_same(out, home / "whole")
    sk.atlas.export(home / "a", tmp_path / "a", keep_paths=True)
    sk.atlas.merge([tmp_path / "a"], tmp_path / "back")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "back" / "filters").iterdir()}
    sk.atlas.build([home / "net0.safetensors"], tmp_path / "back")  # is read again, and nothing is fitted
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "back" / "filters").iterdir()} == before


def test_rows_of_the_newest_form_and_software_are_kept(home, tmp_path):
    for name, form, software, r2 in (
        ("old", 1, "9.9", 0.1),
        ("new", SCHEMA_VERSION, "0.10.0", 0.2),
        ("newer", SCHEMA_VERSION, "0.9.9", 0.3),
    ):
        shutil.copytree(home / "a", tmp_path / name)
        for file in Layout(tmp_path / name).filters.iterdir():
            table = pq.read_table(file)
            metadata = {**table.schema.metadata, b"scalekeys.schema": str(form).encode()}
            for column, value in (("software_version", software), ("r2", r2)):
                place = table.schema.get_field_index(column)
                table = table.set_column(place, table.schema.field(place), pa.repeat(pa.scalar(value), len(table)))
            pq.write_table(table.replace_schema_metadata(metadata), file)
    for order in itertools.permutations(("old", "new", "newer")):
        out = merged(tmp_path, tmp_path / "-".join(order), *order)
        assert sk.atlas.open(out).sql("select distinct r2 from filters").to_arrow()["r2"].to_pylist() == [0.2]


def test_equal_names_of_different_networks_need_a_prefix(home, tmp_path):
    for name, value in (("one", 0), ("two", 5)):
        (tmp_path / name).mkdir()
        save_file(tiny_network(value), tmp_path / name / "net.safetensors")
    for name in ("one", "two"):
        sk.atlas.build([tmp_path / name / "net.safetensors"], tmp_path / f"of-{name}")
        sk.atlas.export(tmp_path / f"of-{name}", tmp_path / f"export-{name}")
    exports = [tmp_path / "export-one", tmp_path / "export-two"]
    with pytest.raises(
        AtlasError, match=r"net\.safetensors: is a different network in .*export-one than in .*export-two"
    ):
        sk.atlas.merge(exports, tmp_path / "out")
    sk.atlas.merge(exports, tmp_path / "out", prefixes=("lab", "zoo"))
    sources = sk.atlas.open(tmp_path / "out").sql("select source from networks").to_arrow()["source"].to_pylist()
    assert sources == ["lab/net.safetensors", "zoo/net.safetensors"]


def test_values_that_differ_are_refused_and_values_that_are_equal_numbers_are_not(home, tmp_path):
    for name, value in (("one", "0.5"), ("two", "0.50"), ("three", "0.6")):
        (home / f"{name}.csv").write_text(f"source,accuracy\nnet0.safetensors,{value}\n")
        sk.atlas.build([home / f"{name}.csv"], tmp_path / name)
    merged(tmp_path, tmp_path / "out", "one", "two")
    for order in (("one", "three"), ("three", "two", "one")):
        with pytest.raises(
            AtlasError, match=r"net0\.safetensors: has accuracy '0\.\d+' in .* and '0\.\d+' in .*; name the"
        ):
            merged(tmp_path, tmp_path / "other", *order)
    (home / "four.csv").write_text("source,Accuracy\nnet1.safetensors,1\n")
    sk.atlas.build([home / "four.csv"], tmp_path / "four")
    with pytest.raises(AtlasError, match="differ in capitals only"):
        merged(tmp_path, tmp_path / "other", "one", "four")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_compared_or_written_is_refused(home, tmp_path):
    sk.atlas.build([home / "net0.safetensors"], tmp_path / "seed", seed=1)
    sk.atlas.build([home / "net0.safetensors"], tmp_path / "kinds", kinds="all")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    a, out = home / "a", tmp_path / "out"
    for folders, output, error, message in (
        ([a, tmp_path / "seed"], out, AtlasError, r"differ in the seed of the noise \(0 and 1\).*build one of them"),
        ([a, tmp_path / "kinds"], out, AtlasError, r"differ in the kinds of convolutions \(depthwise and all\)"),
        ([a, home], out, AtlasError, "home.*: holds neither an atlas nor an export of one"),
        ([], out, AtlasError, "there are no atlases to merge"),
        ([a, home / "b"], a, OutputError, "is one of the atlases to be merged"),
        ([a], tmp_path / "full", OutputError, "is not empty; name another folder"),
        ([a], tmp_path / "full" / "mine.txt", OutputError, "is a file"),
        ([a], Path("/proc/out"), OutputError, "cannot be written"),
    ):
        with pytest.raises(error, match=message):
            sk.atlas.merge(folders, output)
    with pytest.raises(AtlasError, match=r"prefixes and of atlases differ \(1 and 2\); give one prefix for"):
        sk.atlas.merge([a, a], out, prefixes=["x"])
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_rows_are_named_and_nothing_is_written(home, tmp_path):
    shutil.copytree(home / "a", tmp_path / "a")
    file = min(Layout(tmp_path / "a").filters.iterdir())
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(AtlasError, match=r"filters: is damaged \(the network .* has 1 rows and should have 2\)"):
        merged(tmp_path, tmp_path / "out", "a")
    file.unlink()
    with pytest.raises(AtlasError, match=r"\.parquet: is missing; build again with its source"):
        merged(tmp_path, tmp_path / "out", "a")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
