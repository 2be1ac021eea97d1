"""Exports of an atlas: what other programs read, what the card says, and what does not leave the machine."""

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from atlas_cases import tiny_network
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas import exporting, holdings
from scalekeys.atlas.columns import MEANINGS, SCHEMAS, column_rows
from scalekeys.atlas.layout import ExportLayout, Layout
from scalekeys.errors import AtlasError, OutputError

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "atlas_tables.md"
TABLES = ("filters", "networks", "failures", "left_out")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """An atlas of four networks, two of which are the same, with a failure, a tensor left out, and metadata."""
    nets = tmp_path_factory.mktemp("home") / "someone" / "nets"
    (nets / "new").mkdir(parents=True)
    for number in range(2):
        save_file(tiny_network(number), nets / f"net{number}.safetensors")
    shutil.copy(nets / "net0.safetensors", nets / "new" / "copy.safetensors")
    noise = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    save_file({"dw.weight": noise, "blur.filt": torch.ones(8, 1, 3, 3)}, nets / "noisy.safetensors")
    lines = ["source,licence,origin,accuracy,folder", "*.safetensors,MIT,a|b <b>,0.50,/data", "new/*,,,0.7,"]
    (nets / "list.csv").write_text("\n".join([*lines, "missing.pth,,,,"]))
    sk.atlas.build([nets / "list.csv"], nets.parent / "atlas")
    return nets.parent / "atlas"


@pytest.fixture(scope="module")
def shared(atlas, tmp_path_factory):
    """An export of it."""
    folder = tmp_path_factory.mktemp("shared") / "export"
    sk.atlas.export(atlas, folder, licence="CC0-1.0")
    return folder


def rows(atlas, query):
    return sk.atlas.open(atlas).sql(query).to_arrow().to_pylist()


def flip(file):
    """Change a bit of a value of the first column."""
    content, column = bytearray(file.read_bytes()), pq.read_metadata(file).row_group(0).column(0)
    content[(column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1] ^= 1
    file.write_bytes(content)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_of_an_export_answers_like_the_atlas(atlas, shared):
    for query in (
        "select * exclude (source) from filters order by content_hash, depth, channel",
        "select accuracy, filters, duplicate_of is null as first from networks order by all",
        "select count(*) as n, any_value(error) as error from failures",
        "select name, shape, reason from left_out",
    ):
        mine, theirs = (str(rows(folder, query)) for folder in (atlas, shared))  # NaN is not equal to itself
        assert mine == theirs
    assert len(rows(shared, "from filters")) == 6
    assert rows(shared, "select duplicate_of from networks where source = 'new/copy.safetensors'") == [
        {"duplicate_of": "net0.safetensors"}
    ]
    mine, theirs = (
        sk.atlas.open(folder).named("r2-by-kernel-size").to_arrow().to_pylist() for folder in (atlas, shared)
    )
    assert mine == theirs


def test_pandas_and_duckdb_read_the_files(atlas, shared):
    stored = duckdb.sql(f"select * from read_parquet('{shared}/data/filters/*.parquet')").arrow().read_all()
    frame = pd.read_parquet(shared / "data" / "filters")
    assert stored.schema.names == list(frame.columns) == SCHEMAS["filters"].names
    expected = sk.atlas.open(atlas).sql("select r2 from filters order by source, depth, channel").to_arrow()["r2"]
    for found in (stored["r2"].to_numpy(), frame["r2"].to_numpy()):
        np.testing.assert_array_equal(found, expected.to_numpy())
    assert pd.read_parquet(shared / "data" / "networks")["accuracy"].tolist() == [0.5, 0.5, 0.7, 0.5]


@pytest.mark.filterwarnings("ignore")
def test_datasets_of_hugging_face_load_the_folder(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    for name in (None, *TABLES):
        loaded = datasets.load_dataset(str(shared), name, split="train", cache_dir=str(tmp_path))
        stored = pq.read_table(shared / "data" / (name or "filters"))
        assert (loaded.column_names, len(loaded)) == (stored.column_names, len(stored))
        assert loaded.features.arrow_schema.types == stored.schema.types


def test_a_table_without_rows_is_no_configuration_of_the_card(tmp_path):
    yaml = pytest.importorskip("yaml")
    sk.atlas.build(["builtin:master-keys"], tmp_path / "atlas")
    sk.atlas.export(tmp_path / "atlas", tmp_path / "export")
    head = yaml.safe_load((tmp_path / "export" / "README.md").read_text().split("---\n")[1])
    assert [config["config_name"] for config in head["configs"]] == ["filters", "networks"]
    assert (head["license"], head["size_categories"]) == ("unknown", ["n<1K"])
    assert rows(tmp_path / "export", "from failures") == []


def test_the_card_says_what_the_tables_are(shared):
    card = (shared / "README.md").read_text()
    for table in TABLES:
        for line in column_rows(table)[2:]:
            assert line in card
    for text in (
        "6 filters of 3 trained networks",
        "They hold no weights",
        "--kinds depthwise --seed 0",
        "| `accuracy` | float64 | | Metadata",
        "| net1.safetensors | MIT | a\\|b &lt;b> |",
        "| CheckpointError | 1 |",
        "its name 'filt' is not that of a weight",
        "shared under CC0-1.0",
        "@software{scalekeys,",
    ):
        assert text in card


def test_every_column_has_a_meaning_which_the_documentation_repeats():
    documented = DOCS.read_text()
    assert list(MEANINGS) == list(SCHEMAS) == list(TABLES)
    for table, schema in SCHEMAS.items():
        assert sorted(MEANINGS[table]) == sorted(schema.names)
        assert "\n".join(column_rows(table)) in documented


def test_the_same_atlas_gives_the_same_bytes_and_whole_checksums(atlas, shared, tmp_path):
    sk.atlas.export(atlas, tmp_path / "again", licence="CC0-1.0")
    assert files(tmp_path / "again") == files(shared)
    listed = dict(line.split("  ")[::-1] for line in (shared / "SHA256SUMS").read_text().splitlines())
    assert listed == {name: sha256(it).hexdigest() for name, it in files(shared).items() if name != "SHA256SUMS"}
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=shared, check=False).returncode == 0


def test_folders_of_the_machine_stay_at_home(atlas, shared, tmp_path):
    for name, content in files(shared).items():
        assert b"someone" not in content, name
    (failure,) = rows(shared, "select source, reason from failures")
    assert (failure["source"], failure["reason"].partition(":")[0]) == ("missing.pth", "missing.pth")
    summary = sk.atlas.export(atlas, tmp_path / "kept", keep_paths=True)
    assert summary.renamed == 0
    assert summary.path_columns == ("folder",)
    query = "select source, filters, duplicate_of from networks"
    assert rows(tmp_path / "kept", query) == rows(atlas, query)


def test_filters_come_in_files_and_row_groups_of_bounded_size(atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "GROUP", 1)
    monkeypatch.setattr(exporting, "GROUPS_OF_A_FILE", 2)
    monkeypatch.setattr(exporting, "in_groups", lambda tables: holdings.in_groups(tables, 1))
    sk.atlas.export(atlas, tmp_path / "export")
    parts = ExportLayout(tmp_path / "export").parts()
    assert [path.name for path in parts] == [f"filters-{number:05d}-of-00003.parquet" for number in range(3)]
    assert [pq.ParquetFile(path).metadata.num_rows for path in parts] == [2, 2, 2]
    assert [pq.ParquetFile(path).metadata.num_row_groups for path in parts] == [2, 2, 2]
    sources = pa.concat_tables(map(pq.read_table, parts))["source"].to_pylist()
    assert sources == sorted(sources)
    sk.atlas.merge([tmp_path / "export"], tmp_path / "merged")  # networks go on in the next file
    assert len(rows(tmp_path / "merged", "from filters")) == 6

    parts[1].unlink()
    with pytest.raises(AtlasError, match="filters: its parts are not all those of one export; copy the export again"):
        sk.atlas.open(tmp_path / "export")
    monkeypatch.undo()
    sk.atlas.export(atlas, tmp_path / "export", force=True)
    assert len(ExportLayout(tmp_path / "export").parts()) == 1
    assert len(rows(tmp_path / "export", "from filters")) == 6


def test_only_filters_of_listed_sources_go_out(atlas, tmp_path):
    shutil.copytree(atlas, tmp_path / "atlas")
    layout = Layout(tmp_path / "atlas")
    shutil.copy(next(layout.filters.glob("*.parquet")), layout.rows_of("f" * 64))
    assert sk.atlas.export(tmp_path / "atlas", tmp_path / "export").filters == 6
    assert len(rows(tmp_path / "export", "from filters")) == 6


def test_rows_of_an_older_form_are_exported_with_empty_columns(atlas, tmp_path):
    shutil.copytree(atlas, tmp_path / "atlas")
    file = min(Layout(tmp_path / "atlas").filters.glob("*.parquet"))
    table = pq.read_table(file)
    stamp = {**table.schema.metadata, b"scalekeys.schema": b"1"}
    table = table.drop_columns(["gain_white", "kind"])
    table = table.rename_columns(["r2_control" if name == "r2_white" else name for name in table.column_names])
    pq.write_table(table.replace_schema_metadata(stamp), file)
    sk.atlas.export(tmp_path / "atlas", tmp_path / "export")
    assert json.loads((tmp_path / "export" / "export.json").read_text())["older"] == {file.stem: 1}
    assert (
        "The filters of 1 of the networks were fitted by an earlier version"
        in (tmp_path / "export" / "README.md").read_text()
    )
    query = f"select count(kind) as kinds, count(*) as rows from filters where content_hash = '{file.stem}'"
    sk.atlas.merge([tmp_path / "export"], tmp_path / "merged")
    for folder in ("atlas", "export", "merged"):
        assert rows(tmp_path / folder, query) == [{"kinds": 0, "rows": 2}]
        assert str(rows(tmp_path / folder, "select r2_white from filters order by all")) == str(
            rows(atlas, "select r2_white from filters order by all")
        )
    assert pq.read_schema(tmp_path / "merged" / "filters" / file.name).metadata[b"scalekeys.schema"] == b"1"


def test_two_sources_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets").mkdir()
    save_file(tiny_network(0), "nets/net0.safetensors")
    sk.atlas.build([Path("nets/net0.safetensors"), Path("nets/net0.safetensors").absolute()], "atlas")
    with pytest.raises(AtlasError, match=r"would both be called 'net0\.safetensors'; keep the paths"):
        sk.atlas.export("atlas", "export")
    assert not Path("export").exists()


def test_bad_inputs_are_one_sentence_and_leave_nothing(atlas, shared, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = files(tmp_path)
    for arguments, options, error, message in (
        ((tmp_path / "empty", tmp_path / "out"), {}, AtlasError, "holds neither an atlas nor an export"),
        ((shared, tmp_path / "out"), {}, AtlasError, "is an export already"),
        ((atlas, atlas), {"force": True}, OutputError, "is in the atlas itself"),
        ((atlas, tmp_path / "full"), {}, OutputError, "is not empty; give --force"),
        ((atlas, tmp_path / "full" / "mine.txt"), {}, OutputError, "is a file"),
        ((atlas, tmp_path / "full" / "mine.txt" / "out"), {}, OutputError, "cannot be written"),
        ((atlas, "/proc/out"), {}, OutputError, "cannot be written"),
        ((atlas, tmp_path / "out"), {"licence": "CC0\n"}, AtlasError, "is no identifier of a licence"),
    ):
        with pytest.raises(error, match=message):
            sk.atlas.export(*arguments, **options)
    assert files(tmp_path) == before
    sk.atlas.export(atlas, tmp_path / "empty")
    sk.atlas.export(atlas, tmp_path / "full", force=True)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    with pytest.raises(AtlasError, match="is an export; `scalekeys atlas merge` makes an atlas of it"):
        sk.atlas.build(["builtin:master-keys"], tmp_path / "empty")


def test_damage_is_named_and_nothing_is_written(atlas, shared, tmp_path):
    shutil.copytree(atlas, tmp_path / "atlas")
    shutil.copytree(shared, tmp_path / "shared")
    for file in (min((tmp_path / "atlas" / "filters").glob("*")), ExportLayout(tmp_path / "shared").parts()[0]):
        flip(file)
    with pytest.raises(AtlasError, match=r"\.parquet: is damaged .*build again with its source"):
        sk.atlas.export(tmp_path / "atlas", tmp_path / "out")
    for use in (
        lambda: sk.atlas.merge([tmp_path / "shared"], tmp_path / "out"),
        lambda: rows(tmp_path / "shared", "from filters"),
    ):
        with pytest.raises(AtlasError, match=r"-of-00001\.parquet: is damaged .*copy the export again"):
            use()
    networks = ExportLayout(tmp_path / "shared").networks
    networks.write_bytes(b"ha")
    with pytest.raises(AtlasError, match=r"networks\.parquet: is damaged .*copy the export again"):
        sk.atlas.open(tmp_path / "shared")
    networks.unlink()
    with pytest.raises(AtlasError, match=r"networks\.parquet: is missing; copy the whole export"):
        sk.atlas.merge([tmp_path / "shared"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
