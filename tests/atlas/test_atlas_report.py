"""Reports on an atlas: figures against tables computed another way, planted relations, and awkward atlases."""

import csv
import re

import numpy as np
import pytest
import torch
from atlas_cases import network
from safetensors.torch import save_file
from scipy.stats import spearmanr
from typer.testing import CliRunner

import scalekeys as sk
from scalekeys.cli import app
from scalekeys.errors import OutputError
from scalekeys.report.atlas import render_atlas_report, write_atlas_report
from scalekeys.report.atlas.correlation import correlation
from scalekeys.report.atlas.summary import STATISTICS, summarize_atlas

LAYERS, CHANNELS, NETWORKS = 4, 24, 12
FAMILIES = ("dx", "dy", "smooth")


def planted_network(seed: int, noise: float) -> dict[str, torch.Tensor]:
    """Idealized 7x7 filters whose scale is 0.6 to 1.2 pixels over four layers, with noise."""
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        sigma = torch.full((CHANNELS, 2), 0.6 + 0.2 * layer)
        kinds = [sk.scalespace.template(family, sigma, 7) for family in FAMILIES]
        filters = torch.stack([kinds[channel % 3][channel] for channel in range(CHANNELS)])
        filters /= torch.linalg.vector_norm(filters, dim=(1, 2), keepdim=True)
        rest = torch.randn(filters.shape, generator=draw) / 7
        weights[f"blocks.{layer}.dw.weight"] = (filters + noise * rest)[:, None].contiguous()
    return weights


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Twelve networks of eleven architectures, with less noise where accuracy is higher, and one of them twice."""
    folder = tmp_path_factory.mktemp("atlas")
    rows = ["source,architecture,accuracy,same,r2,remark"]
    for number in range(NETWORKS):
        save_file(planted_network(number, 0.1 + 0.05 * number), folder / f"net{number:02d}.safetensors")
        rows.append(f"net{number:02d}.safetensors,a{max(1, number)},{90 - number},5,{number},text")
    save_file(planted_network(0, 0.1), folder / "twin.safetensors")
    rows += ["twin.safetensors,a1,90,5,0,text", "missing.safetensors,a1,1,5,0,text"]
    (folder / "list.csv").write_text("\n".join(rows))
    sk.atlas.build([folder / "list.csv"], folder / "atlas")
    return sk.atlas.open(folder / "atlas")


@pytest.fixture(scope="module")
def summary(atlas):
    return summarize_atlas(atlas)


@pytest.fixture(scope="module")
def filters(atlas):
    frame = atlas.sql("select * from filters").to_pandas()
    frame["sigma"] = np.sqrt(frame.sigma_x.fillna(frame.sigma_y) * frame.sigma_y.fillna(frame.sigma_x))
    frame["structured"] = frame.r2 > frame.r2_control.quantile(0.95)
    return frame


def test_a_network_counts_once(summary):
    assert summary.counts == {
        "networks": NETWORKS,
        "duplicates": 1,
        "failures": 1,
        "filters": NETWORKS * LAYERS * CHANNELS,
        "fitted": NETWORKS * LAYERS * CHANNELS,
    }
    assert summary.tables["networks"].num_rows == NETWORKS


def test_what_is_explained_is_that_of_the_table(summary, filters):
    of_size, total = summary.rows("explained")
    assert (of_size["kernel"], total["kernel"]) == ("7x7", "all")
    assert total["r2"] == pytest.approx(filters.r2.median())
    assert total["r2_upper_quartile"] == pytest.approx(filters.r2.quantile(0.75))
    assert total["r2_control"] == pytest.approx(filters.r2_control.median())
    assert total["structured"] == pytest.approx(filters.structured.mean())
    assert {**of_size, "kernel": "all"} == total


def test_scales_are_quantiles_of_structured_filters(summary, filters):
    rows = {(row["family"], row["tenth"]): row for row in summary.rows("scales")}
    assert {tenth for family, tenth in rows if family == "all"} == {0, 3, 6, 9}
    for layer, tenth in enumerate((0, 3, 6, 9)):
        mine = filters[(filters.depth == layer) & filters.structured]
        assert rows["all", tenth]["filters"] == len(mine)
        assert rows["all", tenth]["q90"] == pytest.approx(mine.sigma.quantile(0.9))
        along_x = mine[mine.family == "dx"].sigma
        assert rows["dx", tenth]["q50"] == pytest.approx(along_x.median())
        assert along_x.median() == pytest.approx(0.6 + 0.2 * layer, abs=0.06)


def test_the_mix_of_families_is_that_of_the_table(summary, filters):
    rows = summary.rows("mix")
    shares = {}
    for row in rows:
        shares[row["kind"], row["name"]] = shares.get((row["kind"], row["name"]), 0) + row["share"]
    assert list(shares.values()) == pytest.approx([1] * len(shares))
    counts = {row["family"]: row["filters"] for row in rows if row["kind"] == "kernel"}
    assert counts == filters.family.value_counts().to_dict()
    assert {name for kind, name in shares if kind == "architecture"} == {f"a{n}" for n in range(1, NETWORKS)}
    assert {name for kind, name in shares if kind == "stride"} == {"unknown"}


def test_a_planted_relation_is_found_and_what_does_not_vary_is_not(summary):
    found = {(one.statistic, one.metadata): one for one in summary.correlations}
    planted = found["r2", "accuracy"]
    assert planted.rho == pytest.approx(1)
    assert (planted.networks, planted.architectures) == (NETWORKS, NETWORKS - 1)
    assert planted.low > 0.9
    assert planted.excludes_zero
    expected = spearmanr(summary.values("sigma_slope"), summary.values("accuracy")).statistic
    assert found["sigma_slope", "accuracy"].rho == pytest.approx(expected)
    assert found["r2", "same"].rho is None
    assert found["r2", "r2 (metadata)"].rho == pytest.approx(-1)
    assert len(found) == 3 * len(STATISTICS)


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw, rho, inside = np.random.default_rng(0), 0.6, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of Spearman's coefficient of two normal variables
    for _ in range(100):
        x, rest = draw.normal(size=(2, 100))
        one = correlation("x", "y", x, rho * x + (1 - rho**2) ** 0.5 * rest, [str(i) for i in range(100)])
        inside += one.low < truth < one.high
    assert 89 <= inside <= 100


def test_copies_of_a_network_make_no_interval_narrower():
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(2, 12))
    names = [str(i) for i in range(12)]
    one = correlation("x", "y", x, y, names)
    many = correlation("x", "y", np.repeat(x, 10), np.repeat(y, 10), np.repeat(names, 10).tolist())
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)
    assert (many.networks, many.architectures) == (120, 12)


def test_few_networks_or_architectures_give_no_figure():
    x = np.arange(10.0)
    assert correlation("x", "y", x[:7], x[:7], list("abcdefg")).rho is None
    few = correlation("x", "y", x, x, list("aabbccddee"))
    assert few.rho == pytest.approx(1)
    assert few.low is None
    assert not few.excludes_zero


def test_the_page_shows_it_and_is_always_the_same(atlas, summary, tmp_path):
    write_atlas_report(atlas, tmp_path / "one")
    write_atlas_report(atlas, tmp_path / "two")
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "two" / "report.html").read_text(encoding="utf-8")
    assert "12 networks with 1152 depthwise filters" in page
    assert "missing.safetensors" in re.sub("<wbr>", "", page)
    assert set(re.findall(r'data-figure="([a-z0-9-]+)"', page)) >= {"scales-over-depth", "mix", "correlations-1"}
    assert "no fair sample" in page
    outside_scripts = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#|data:)', outside_scripts)
    with (tmp_path / "one" / "correlations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary.correlations)
    assert float(rows[0]["rho"]) == pytest.approx(summary.correlations[0].rho)


def test_an_atlas_without_metadata_says_so(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    sk.atlas.build([tmp_path / "a.safetensors"], tmp_path / "atlas")
    page = render_atlas_report(summarize_atlas(sk.atlas.open(tmp_path / "atlas")), "small")
    assert "No numbers were brought with the networks" in page
    assert "The stride is not known of any filter" in page


def test_an_atlas_of_failures_says_so(tmp_path):
    (tmp_path / "list.csv").write_text("source,accuracy\nmissing.pth,0.5\n")
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    page = render_atlas_report(summary, "empty")
    assert "there is nothing to describe" in page
    assert "No filter could be fitted" in page
    assert "too few to say anything" in page
    assert 'data-figure="' not in page


def test_too_few_values_are_said_to_be_few(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    (tmp_path / "list.csv").write_text("source,accuracy\na.safetensors,0.5\n")
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    page = render_atlas_report(summarize_atlas(sk.atlas.open(tmp_path / "atlas")), "small")
    assert "No column of accuracy has values that vary over 8 networks" in page


def test_an_existing_folder_is_refused_or_replaced(atlas, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError):
        write_atlas_report(atlas, tmp_path / "report")
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["mine.txt"]
    write_atlas_report(atlas, tmp_path / "report", force=True)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_command_writes_page_and_tables(atlas, tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    sk.atlas.build([tmp_path / "a.safetensors"], tmp_path / "atlas")
    done = CliRunner().invoke(app, ["atlas", "report", str(tmp_path / "atlas"), "-o", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "1 networks, 18 filters" in done.output
    names = {
        "report.html",
        *(f"{n}.csv" for n in ("correlations", "explained", "failures", "mix", "networks", "scales")),
    }
    assert {path.name for path in (tmp_path / "report").iterdir()} == names
