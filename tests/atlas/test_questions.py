"""Questions to an atlas: what they answer, and that they reach nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from atlas_cases import flat_network, network
from safetensors.torch import save_file
from torch import nn

import scalekeys as sk
from scalekeys import atlas as public
from scalekeys.atlas import NAMED, task
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.cli.show.atlas import print_rows
from scalekeys.cli.work.atlas import to_json
from scalekeys.errors import AtlasError
from scalekeys.scalespace import template


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An atlas of three networks, one of which is there twice, and a source that cannot be read."""
    folder = tmp_path_factory.mktemp("atlas")
    save_file(network(0), folder / "a.safetensors")
    save_file(network(0), folder / "b.safetensors")
    save_file(network(1), folder / "c.safetensors")
    save_file(flat_network(1), folder / "d.safetensors")
    (folder / "list.csv").write_text("source,accuracy\n*.safetensors,0.5\nmissing.pth,0.1\n")
    sk.atlas.build([folder / "list.csv"], folder / "atlas")
    return folder / "atlas"


@pytest.fixture
def atlas(folder):
    return sk.atlas.open(folder)


def answer(atlas, query):
    return atlas.sql(query).to_arrow().to_pylist()


def test_all_public_names_are_there_and_no_others():
    assert [name for name in public.__all__ if not hasattr(public, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'close'"):
        public.close  # noqa: B018


def test_filters_are_asked_in_sql(atlas):
    frame = atlas.sql("select family, sigma_x, stride, channel from filters where r2 > 0 order by all").to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["family", "sigma_x", "stride", "channel"]
    assert len(frame) == 36
    assert frame.stride.isna().all()
    assert frame.channel.dtype == pd.Int32Dtype()


def test_a_network_counts_once_and_its_metadata_join_by_source(atlas):
    assert answer(atlas, "select count(*) as n from filters") == [{"n": 54}]
    assert answer(atlas, "select count(*) as n from networks") == [{"n": 4}]
    query = "select accuracy, count(*) as n from filters join networks using (source) group by all"
    assert answer(atlas, query) == [{"accuracy": 0.5, "n": 54}]
    assert [row["accuracy"] for row in answer(atlas, "from failures")] == [0.1]


def test_an_answer_comes_in_parts(atlas):
    batches = list(atlas.sql("select r2 from filters").batches())
    assert sum(map(len, batches)) == 54
    (empty,) = atlas.sql("select r2 from filters where r2 > 2").batches()
    assert (len(empty), empty.schema.names) == (0, ["r2"])


CLOSED = "file system operations are disabled by configuration"
NO_QUESTION = "a query is one statement that asks and changes nothing: select"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from read_csv('{folder}/../list.csv')", CLOSED),
        ("select * from read_text('{folder}/../list.csv')", CLOSED),
        ("select * from '{folder}/networks.parquet'", CLOSED),
        ("select * from read_parquet('{folder}/filters/*.parquet')", CLOSED),
        ("select * from glob('{folder}/*')", CLOSED),
        ("select * from secret", "Table with name secret does not exist"),
        ("copy (select 1) to '{folder}/stolen.csv'", NO_QUESTION),
        ("with x as (copy (select 1) to '{folder}/stolen.csv' (use_tmp_file false)) select * from x", CLOSED),
        ("with x as (copy (select 1) to '.tmp/stolen.csv' (use_tmp_file false)) select * from x", CLOSED),
        ("attach '{folder}/new.db'", NO_QUESTION),
        ("install httpfs", NO_QUESTION),
        ("load httpfs", NO_QUESTION),
        ("set enable_external_access = true", NO_QUESTION),
        ("set python_enable_replacements = true", NO_QUESTION),
        ("set temp_directory = '{folder}'", NO_QUESTION),
        ("reset enable_external_access", NO_QUESTION),
        ("select * from read_csv('https://example.org/a.csv')", CLOSED),
        ("export database '{folder}/dump'", NO_QUESTION),
    ],
)
def test_a_query_reaches_nothing_but_the_tables(folder, query, message, monkeypatch, tmp_path):
    secret = pd.DataFrame({"a": [1]})
    monkeypatch.setattr("scalekeys.atlas.reading.secret", secret, raising=False)  # where DuckDB looks for variables
    monkeypatch.chdir(tmp_path)
    Path(".tmp").mkdir()  # where DuckDB may write by default
    atlas = sk.atlas.open(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(AtlasError, match=message):
        atlas.sql(query.format(folder=folder)).to_arrow()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(tmp_path.rglob("*")) == [tmp_path / ".tmp"]


@pytest.mark.parametrize("query", ["drop view filters", "delete from filters", "update networks set source = ''"])
def test_the_tables_cannot_be_changed(folder, query):
    atlas = sk.atlas.open(folder)
    with pytest.raises(AtlasError, match=NO_QUESTION):
        atlas.sql(query).to_arrow()
    assert answer(sk.atlas.open(folder), "select count(*) as n from filters") == [{"n": 54}]


def test_a_pivot_and_a_plan_are_questions_too(atlas):
    assert len(answer(atlas, "pivot networks on duplicate_of using count(*) group by model")) == 4
    assert "explain_value" in answer(atlas, "explain select * from filters")[0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select nothing from filters", "the query cannot be answered: Binder Error: .*nothing"),
        ("select from where", "the query cannot be answered: Parser Error"),
        ("select * from keys", "Table with name keys does not exist"),
        ("select error('no\nway')", "the query cannot be answered: .*no"),
        ("", NO_QUESTION),
        ("-- nothing", NO_QUESTION),
        ("select 1; select 2", NO_QUESTION),
        ("create table t as select 1", NO_QUESTION),
    ],
)
def test_a_query_that_is_none_is_one_sentence(atlas, query, message):
    with pytest.raises(AtlasError, match=message) as caught:
        atlas.sql(query).to_arrow()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMED)
def test_named_queries_answer(atlas, name):
    assert len(atlas.named(name).to_arrow()) > 0


def test_an_unknown_name_brings_the_known_ones(atlas):
    with pytest.raises(
        AtlasError, match="no query is called 'scales'; there are scales-by-depth, family-mix-by-stride"
    ):
        atlas.named("scales")


def test_r2_by_kernel_size_agrees_with_a_fit(atlas):
    rows = {row["kernel"]: row for row in atlas.named("r2-by-kernel-size").to_arrow().to_pylist()}
    assert list(rows) == ["7x7", "5x5", "3x3"]
    fits = [sk.fit(sk.extract(network(seed))) for seed in (0, 1)]
    small = np.concatenate([fit.r2[6:14].numpy() for fit in fits])
    assert rows["3x3"]["r2"] == pytest.approx(np.median(small))
    assert (rows["3x3"]["networks"], rows["3x3"]["filters"]) == (3, 24)
    assert rows["3x3"]["r2_jet2"] > rows["3x3"]["r2"]
    assert rows["3x3"]["r2_white"] > 0
    assert rows["3x3"]["r2_matched"] > 0


def test_scales_by_depth_and_families_by_stride_know_the_graph(tmp_path, monkeypatch):
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 8, 3, groups=8, stride=1 + (number == 3)) for number in range(20)]
    monkeypatch.setattr(task, "open_source", lambda _: open_module(nn.Sequential(*layers)))
    sk.atlas.build(["network"], tmp_path / "atlas")
    atlas = sk.atlas.open(tmp_path / "atlas")
    depth = atlas.named("scales-by-depth").to_pandas()
    assert depth.tenth.tolist() == list(range(10))
    assert depth.filters.sum() == 160
    rows = atlas.sql("select depth, pitch, dilation, family, sigma_x, sigma_y from filters").to_pandas()
    last = rows[(rows.depth >= 0.9 * rows.depth.max()) & rows.family.notna()]
    assert set(last.pitch) == {2}  # behind the layer of stride 2
    in_input_pixels = np.sqrt(last.sigma_x.fillna(1) * last.sigma_y.fillna(1)) * last.pitch * last.dilation
    assert depth.sigma_in_input_pixels[9] == pytest.approx(in_input_pixels.median())
    mix = atlas.named("family-mix-by-stride").to_pandas()
    assert mix.groupby("stride").filters.sum().to_dict() == {1: 152, 2: 8}
    assert mix.groupby("stride").share.sum().tolist() == pytest.approx([1, 1])


def test_outliers_are_far_from_the_median_of_their_size(atlas):
    frame = atlas.named("outliers").to_pandas()
    assert len(frame) == 36
    assert frame.deviations.abs().is_monotonic_decreasing
    largest = frame[frame.kernel == "7x7"]
    spread = (largest.r2 - largest.r2.median()).abs()
    assert largest.deviations.to_numpy() == pytest.approx(
        ((largest.r2 - largest.r2.median()) / spread.median()).to_numpy()
    )


@pytest.fixture
def filters(atlas):
    frame = atlas.sql("select * from filters").to_pandas()
    sides = frame[["kernel_height", "kernel_width"]].astype(str)
    return frame.assign(kernel=sides.kernel_height + "x" + sides.kernel_width)


CONTROLS = ("", "_matched", "_white")


def test_separability_is_the_median_of_each_size_beside_noise(atlas, filters):
    found = atlas.named("separability").to_pandas().set_index("kernel")
    assert found.index.tolist() == ["7x7", "5x5", "3x3"]
    for name in (f"{rank}{control}" for rank in ("rank1", "rank2", "rank1_centred") for control in CONTROLS):
        assert found[name].to_dict() == pytest.approx(filters.groupby("kernel")[name].median().to_dict()), name
    assert found.filters.to_dict() == filters.groupby("kernel").rank1.count().to_dict()


def test_offsets_are_along_the_axis_of_each_family_and_towards_its_side(atlas, filters):
    found = atlas.named("offsets").to_pandas().set_index("kernel")
    for control in CONTROLS:
        family = filters[f"family{control}"].fillna("")
        one_sided = filters[family.str.contains(r"[+-]$")]
        along = np.where(
            one_sided[f"family{control}"].str[1] == "x",
            one_sided[f"centre_x{control}"],
            one_sided[f"centre_y{control}"],
        )
        off = pd.Series(np.where(one_sided[f"family{control}"].str[2] == "+", -along, along), one_sided.index)
        groups = off.groupby(one_sided.kernel)
        assert found[f"filters{control}"].to_dict() == groups.count().reindex(found.index, fill_value=0).to_dict()
        for name, wanted in (
            ("offset", groups.mean()),
            ("offset_lower_quartile", groups.quantile(0.25)),
            ("offset_upper_quartile", groups.quantile(0.75)),
        ):
            got = found[f"{name}{control}"].dropna().to_dict()
            assert got == pytest.approx(wanted.reindex(found.index).dropna().to_dict(), abs=1e-6)


def test_one_sided_templates_lie_towards_their_side(tmp_path):
    names = ("dx-", "dx+", "dy-", "dy+")
    sigma = torch.full((2,), 0.6, dtype=torch.float64)
    weights = torch.stack([template(name, sigma, 7) for name in names]).float()
    save_file({"dw.weight": weights[:, None]}, tmp_path / "a.safetensors")
    sk.atlas.build([tmp_path / "a.safetensors"], tmp_path / "atlas")
    (row,) = sk.atlas.open(tmp_path / "atlas").named("offsets").to_arrow().to_pylist()
    assert row["filters"] == 4
    for name in ("offset", "offset_lower_quartile", "offset_upper_quartile"):
        assert row[name] == pytest.approx(0.5, abs=0.01)


def test_published_keys_are_counted_by_kernel_and_by_key(atlas, filters):
    found = atlas.named("published-keys").to_pandas().set_index(["kernel", "key"])
    for control in CONTROLS:
        for kernel, mine in filters.groupby("kernel"):
            nearest = mine[f"key{control}"].dropna()
            groups = {"all": mine.loc[nearest.index]} | dict(list(mine.groupby(f"key{control}")))
            for key, group in groups.items():
                row, correlation = found.loc[(kernel, key)], group[f"key_correlation{control}"]
                assert row[f"filters{control}"] == len(group)
                assert row[f"close{control}"] == pytest.approx((correlation > 0.8).sum() / len(nearest))
                assert row[f"correlation{control}"] == pytest.approx(correlation.median())
    assert found.xs("all", level="key").filters.to_dict() == filters.groupby("kernel").key.count().to_dict()


def test_published_keys_know_the_published_ones(tmp_path):
    sk.atlas.build(["builtin:master-keys"], tmp_path / "atlas")
    rows = sk.atlas.open(tmp_path / "atlas").named("published-keys").to_arrow().to_pylist()
    own = {row["key"]: row["close"] for row in rows if row["filters"]}
    assert own == {"all": 1.0} | dict.fromkeys(sk.MASTER_KEY_FAMILIES, 1 / 8)
    assert rows[0]["key"] == "all"
    assert rows[0]["close_white"] < 1


def test_a_folder_without_an_atlas_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(AtlasError, match=r"holds no atlas; `scalekeys atlas build SOURCES -o FOLDER` makes one"):
            sk.atlas.open(place)


def test_asking_needs_no_torch(folder):
    code = "import sys, scalekeys as sk; sk.atlas.open(sys.argv[1]).sql('select 1').to_arrow(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "duckdb" in done.stdout.split()
    assert "torch" not in done.stdout.split()


def test_columns_of_one_name_keep_their_values(folder, capsys):
    query = "select 1 as a, 2 as a, 3 as b"
    print_rows(sk.atlas.open(folder).sql(query))
    assert capsys.readouterr().out.split() == ["a", "a", "b", "1", "2", "3"]
    with pytest.raises(AtlasError, match="two columns of the answer are called 'a'; rename one of them"):
        to_json(sk.atlas.open(folder).sql(query))
