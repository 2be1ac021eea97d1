"""Reports on an atlas: figures against tables computed another way, planted relations, and awkward atlases."""

import csv
import re

import duckdb
import numpy as np
import onnx
import pytest
import torch
from atlas_cases import network
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from scipy.stats import spearmanr
from typer.testing import CliRunner

import scalekeys as sk
from scalekeys.atlas.queries import KERNEL, SIGMA, TAPS
from scalekeys.cli import app
from scalekeys.errors import OutputError
from scalekeys.fitting import Standing
from scalekeys.fitting.formation import ranks
from scalekeys.report.atlas import render_atlas_report, write_atlas_report
from scalekeys.report.atlas.correlation import LEAST_NETWORKS, Correlation, correlation, with_holm
from scalekeys.report.atlas.summary import STATISTICS, summarize_atlas
from scalekeys.report.page import render, words

LAYERS, CHANNELS, NETWORKS = 4, 12, 12
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
    frame["place"] = frame.depth / (LAYERS - 1)
    frame["structured"] = frame.r2 > frame.r2_white.quantile(0.95)
    frame["beyond_matched"] = frame.r2 > frame.r2_matched.quantile(0.95)
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
    assert total["r2_white"] == pytest.approx(filters.r2_white.median())
    assert total["r2_matched"] == pytest.approx(filters.r2_matched.median())
    assert total["structured"] == pytest.approx(filters.structured.mean())
    assert total["beyond_matched"] == pytest.approx(filters.beyond_matched.mean())
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
    assert planted.is_significant
    expected = spearmanr(summary.values("sigma_slope"), summary.values("accuracy")).statistic
    assert found["sigma_slope", "accuracy"].rho == pytest.approx(expected)
    assert found["r2", "same"].rho is None
    assert found["r2", "same"].p_holm is None
    assert found["r2", "r2 (metadata)"].rho == pytest.approx(-1)
    assert len(found) == 3 * (len(STATISTICS) - 1)  # no kernel has a scale along z


def test_statistics_of_a_network_are_those_of_its_filters(summary, filters):
    for row in summary.rows("networks"):
        mine = filters[filters.source == row["source"]]
        structured = mine[mine.structured]
        assert row["r2"] == pytest.approx(mine.r2.median())
        assert row["sigma_x"] == pytest.approx(structured.sigma_x.median())
        assert row["sigma_y"] == pytest.approx(structured.sigma_y.median())
        spread = structured.sigma.quantile(0.75) - structured.sigma.quantile(0.25)
        assert row["sigma_spread"] == pytest.approx(spread)
        assert row["sigma_slope"] == pytest.approx(np.polyfit(structured.place, structured.sigma, 1)[0])
        shares = {family: row[f"share_{family}"] for family in sk.scalespace.IDEAL8}
        assert shares == pytest.approx({name: (structured.family == name).mean() for name in shares})


@pytest.mark.parametrize(("architectures", "variants"), [(8, 1), (12, 1), (40, 1), (8, 5), (12, 5)])
@pytest.mark.parametrize("rho", [0, 0.6, 0.9])
def test_intervals_hold_the_truth_as_often_as_they_say(architectures, variants, rho):
    """Of two normal variables, of which variants of one architecture share four fifths of the variance."""
    draw = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's coefficient
    groups = [str(i) for i in range(architectures) for _ in range(variants)]
    shared = 0.8 if variants > 1 else 1.0
    inside, repeats = 0, 300
    for _ in range(repeats):
        common = np.repeat(draw.normal(size=(2, architectures)), variants, axis=1)
        own = draw.normal(size=common.shape)
        x, rest = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        one = correlation("x", "y", x, rho * x + np.sqrt(1 - rho**2) * rest, groups)
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)
        inside += one.low <= truth <= one.high
    assert 0.92 <= inside / repeats <= 0.995


def test_a_correlation_is_that_of_scipy_and_independent_networks_have_fishers_interval():
    x, rest = np.random.default_rng(2).normal(size=(2, 400))
    y = 0.3 * x + rest
    one = correlation("x", "y", x, y, [str(i) for i in range(400)])
    peer = spearmanr(x, y)
    assert one.rho == pytest.approx(peer.statistic)
    z, reach = np.arctanh(peer.statistic), 1.96 / np.sqrt(400 - 3)
    assert (one.low, one.high) == pytest.approx((np.tanh(z - reach), np.tanh(z + reach)), abs=0.02)


def test_a_perfect_order_of_few_networks_has_an_interval_and_a_p():
    x = np.arange(8.0)
    one = correlation("x", "y", x, x, list("abcdefgh"))
    assert one.rho == pytest.approx(1)
    assert 0.5 < one.low < 0.95
    assert 1e-4 < one.p < 1e-2  # 2 / 8! of all orders are perfect


def test_holm_is_that_of_the_textbook():
    """Against numbers adjusted by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and not less for the last than for the third."""
    found = [Correlation("x", str(p), 9, 9, p=p) for p in (0.04, 0.01, 0.03, 0.005)]
    adjusted = [one.p_holm for one in with_holm([*found, Correlation("x", "none", 3, 3)])]
    assert adjusted[:4] == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert adjusted[4] is None


def test_copies_of_a_network_make_no_interval_narrower():
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(2, 12))
    names = [str(i) for i in range(12)]
    one = correlation("x", "y", x, y, names)
    many = correlation("x", "y", np.repeat(x, 10), np.repeat(y, 10), np.repeat(names, 10).tolist())
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)
    assert many.p == pytest.approx(one.p, rel=0.1)
    assert (many.networks, many.architectures) == (120, 12)


def test_few_networks_or_architectures_give_no_figure():
    x = np.arange(10.0)
    assert correlation("x", "y", x[:7], x[:7], list("abcdefg")).rho is None
    few = correlation("x", "y", x, x, list("aabbccddee"))
    assert few.rho == pytest.approx(1)
    assert few.low is None
    assert few.p is None
    assert not few.is_significant


def test_the_page_shows_it_and_is_always_the_same(atlas, summary, tmp_path):
    write_atlas_report(atlas, tmp_path / "one")
    write_atlas_report(atlas, tmp_path / "two")
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "two" / "report.html").read_text(encoding="utf-8")
    assert f"{NETWORKS} networks with {NETWORKS * LAYERS * CHANNELS} filters" in page
    assert "missing.safetensors" in re.sub("<wbr>", "", page)
    assert set(re.findall(r'data-figure="([a-z0-9-]+)"', page)) >= {
        "explained",
        "scales-over-depth",
        "mix",
        "correlations-1",
    }
    assert "no fair sample" in page
    outside_scripts = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#|data:)', outside_scripts)
    with (tmp_path / "one" / "correlations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary.correlations)
    assert float(rows[0]["p_holm"]) == pytest.approx(summary.correlations[0].p_holm)
    assert "It is the same for all of 12 networks" in page
    assert float(rows[0]["rho"]) == pytest.approx(summary.correlations[0].rho)


def test_the_formation_of_a_network_is_that_of_its_fit(summary, filters):
    for row in summary.rows("networks")[::4]:
        mine = filters[filters.source == row["source"]]
        found = Standing.of(ranks(mine.r2.to_numpy(), filters.r2_white.to_numpy()), len(filters))
        assert row["formation"] == pytest.approx(found.value, abs=1e-4)
        assert (row["formation_low"], row["formation_high"]) == pytest.approx((found.low, found.high), abs=1e-4)
        layers = [ranks(one.r2.to_numpy(), one.r2_matched.to_numpy()) for _, one in mine.groupby("layer")]
        beside = Standing.of(np.concatenate(layers), len(mine))
        assert row["beyond_matched_noise"] == pytest.approx(beside.value, abs=1e-4)
        assert row["formation_word"] == found.word
    assert (summary.values("formation") > 0.9).all()


def test_the_table_of_networks_leads_to_each(atlas, summary):
    page = render_atlas_report(summary, "planted")
    first = summary.rows("networks")[0]
    assert page.index('id="networks"') < page.index('id="explained"')
    assert '<a href="#network-1"' in page
    assert '<details id="network-1">' in page
    assert page.count("<details id=") == NETWORKS
    value, low, high = (words.number(first[f"formation{end}"]) for end in ("", "_low", "_high"))
    assert f"{value} ({low} to {high})" in page
    assert summary.about[first["source"]]["accuracy"] == 90


def test_kernels_that_tell_nothing_and_kernels_that_are_all_dead_are_named(tmp_path):
    draw = torch.Generator().manual_seed(0)
    save_file({"dw.weight": torch.randn(40, 1, 1, 3, generator=draw)}, tmp_path / "a.safetensors")
    weights = {"dw.weight": torch.zeros(40, 1, 5, 5), "row.weight": torch.randn(40, 1, 1, 3, generator=draw)}
    weights["dw.weight"][4:] = torch.randn(36, 1, 5, 5, generator=draw)
    weights["gone.weight"] = torch.zeros(6, 1, 7, 7)
    save_file(weights, tmp_path / "b.safetensors")
    save_file({"dw.weight": torch.zeros(4, 1, 3, 3)}, tmp_path / "c.safetensors")
    sk.atlas.build([tmp_path / f"{name}.safetensors" for name in "abc"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    small, mixed, dead = summary.rows("networks")
    assert [dead[name] for name in ("kernels", "all", "dead", "filters", "r2", "formation")] == [
        "3x3",
        4,
        4,
        0,
        None,
        None,
    ]
    assert (small["formation_word"], small["r2"], small["structured"]) == (None, None, None)
    assert (mixed["formation_word"], mixed["kernels"]) == ("like noise", "7x7, 5x5, 1x3")
    assert (mixed["filters"], mixed["dead"], mixed["all"]) == (76, 10, 86)
    assert [row["r2"] is None for row in summary.rows("explained")] == [False, True, False]
    page = render_atlas_report(summary, "small")
    assert "Of kernels of 1\N{MULTIPLICATION SIGN}3 the families explain noise as well as anything" in page
    assert "cannot tell structure from noise" in page
    assert page.count("no filter could be fitted") == 3  # of one kernel, and of a network with its only kernel


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


def test_a_column_with_too_few_values_says_so_beside_one_that_has_enough(tmp_path):
    draw, rows = torch.Generator().manual_seed(0), ["source,architecture,full,few,alike"]
    for number in range(9):
        save_file({"dw.weight": torch.randn(6, 1, 3, 3, generator=draw)}, tmp_path / f"{number}.safetensors")
        rows.append(f"{number}.safetensors,a{number},{number},{number if number < 7 else ''},1")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    page = render_atlas_report(summary, "few")
    assert "Values for 7 networks; a correlation needs 8." in page
    assert "It is the same for all of 9 networks" in page
    assert {one.metadata for one in summary.correlations if one.rho is not None} == {"full"}
    assert len(re.findall(r'data-figure="scatter-[0-9]"', page)) == 1


def test_columns_that_are_not_numbers_are_named(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    save_file(network(1), tmp_path / "b.safetensors")
    (tmp_path / "list.csv").write_text(
        "source,top1,year,data,architecture\na.safetensors,N/A,2020,x,A\nb.safetensors,0.5,about 2020,x,B\n"
    )
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    assert (summary.metadata, summary.not_numbers) == (("top1",), ("data", "year"))
    sentence = "Not correlated, because a cell or more is no number: data and year."
    assert sentence in render_atlas_report(summary, "words")


def without_interval(found):
    return render("atlas/no_interval.html.j2", found=found, least=LEAST_NETWORKS)


def test_networks_of_few_architectures_have_no_interval():
    x = np.arange(10.0)
    few = [correlation("sigma", "accuracy", x, x, list("aabbccddee"))]
    assert "The 10 networks are of 5 architectures; an interval and a p need 8." in without_interval(few)


def test_too_few_values_are_said_to_be_few(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    (tmp_path / "list.csv").write_text("source,accuracy\na.safetensors,0.5\n")
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    page = render_atlas_report(summarize_atlas(sk.atlas.open(tmp_path / "atlas")), "small")
    assert "No column of accuracy has values that vary over 8 networks" in page


def test_metadata_may_be_called_as_columns_of_the_atlas(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    (tmp_path / "list.csv").write_text(
        'source,R2,sigma_x,depth,place,kernel,"top ""1""",Architecture\na.safetensors,1,2,3,4,5,6,Net\n'
    )
    sk.atlas.build([tmp_path / "list.csv"], tmp_path / "atlas")
    summary = sk.write_atlas_report(sk.atlas.open(tmp_path / "atlas"), tmp_path / "report")
    (row,) = summary.rows("networks")
    brought = {"R2 (metadata)": 1, "sigma_x (metadata)": 2, "depth": 3, "place": 4, "kernel": 5, 'top "1"': 6}
    assert {name: row[name] for name in brought} == brought
    assert set(summary.metadata) == set(brought)
    assert row["architecture"] == "Net"
    assert {bar["name"] for bar in summary.rows("mix") if bar["kind"] == "architecture"} == {"Net"}


def save_convolutions(path, strides):
    """Save a chain of depthwise 3x3 convolutions of four channels as ONNX."""
    weights = np.random.default_rng(0).normal(size=(len(strides), 4, 1, 3, 3)).astype(np.float32)
    names = [f"conv{place}.weight" for place in range(len(strides))]
    nodes = [
        helper.make_node("Conv", [str(place), name], [str(place + 1)], group=4, strides=[stride, stride])
        for place, (name, stride) in enumerate(zip(names, strides, strict=True))
    ]
    image, out = (
        helper.make_tensor_value_info(str(place), TensorProto.FLOAT, [1, 4, None, None]) for place in (0, len(strides))
    )
    tensors = [numpy_helper.from_array(one, name) for one, name in zip(weights, names, strict=True)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "chain", [image], [out], tensors)), path)


def test_strides_that_are_known_have_bars_of_their_own(tmp_path):
    save_convolutions(tmp_path / "a.onnx", (1, 2, 2))
    sk.atlas.build([tmp_path / "a.onnx"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    filters = {}
    for row in summary.rows("mix"):
        if row["kind"] == "stride":
            filters[row["name"]] = filters.get(row["name"], 0) + row["filters"]
    assert filters == {"1": 4, "2": 8}
    assert "The stride is known of all filters" in render_atlas_report(summary, "strides")


def test_an_existing_folder_is_refused_or_replaced(atlas, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="report: this output folder exists already; give --force to replace"):
        write_atlas_report(atlas, tmp_path / "report")
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["mine.txt"]
    write_atlas_report(atlas, tmp_path / "report", force=True)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_command_writes_page_and_tables(atlas, tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    sk.atlas.build([tmp_path / "a.safetensors"], tmp_path / "atlas")
    done = CliRunner().invoke(app, ["atlas", "report", str(tmp_path / "atlas"), "-o", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "1 network, 18 filters" in done.output
    names = {
        "report.html",
        "scales.csv",
        *(
            f"{n}.csv"
            for n in ("correlations", "explained", "failures", "kernels", "left_out", "mix", "networks", "orientation")
        ),
    }
    assert {path.name for path in (tmp_path / "report").iterdir()} == names


def test_a_column_that_varies_through_one_architecture_only_says_so():
    x, y = np.arange(12.0), np.zeros(12)
    y[3] = 1
    one = correlation("r2", "accuracy", x, y, [f"a{number}" for number in range(12)])
    assert one.rho is not None
    assert one.low is None
    assert "It varies through one architecture only" in without_interval([one])


def test_what_is_left_out_is_listed_with_its_network(tmp_path):
    save_file(network(0) | {"blur.filt": torch.ones(8, 1, 3, 3)}, tmp_path / "a.safetensors")
    sk.atlas.build([tmp_path / "a.safetensors"], tmp_path / "atlas")
    summary = sk.write_atlas_report(sk.atlas.open(tmp_path / "atlas"), tmp_path / "report")
    (row,) = summary.rows("left_out")
    assert (row["name"], row["shape"], row["reason"]) == (
        "blur.filt",
        "8x1x3x3",
        "its name 'filt' is not that of a weight",
    )
    page = (tmp_path / "report" / "report.html").read_text()
    assert "1 tensor or layer of the networks with the shape of a kernel" in page
    assert "its name &#39;filt&#39; is not that of a weight" in page
    assert "blur.filt" in (tmp_path / "report" / "left_out.csv").read_text()


def answer(columns, values, asked):
    """Ask for an expression over one row of values."""
    ((found,),) = duckdb.sql(f"select {asked} from (values ({values})) as t({columns})").fetchall()
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("1.0, 4.0, null", 2.0),
        ("2.0, null, null", 2.0),
        ("1.0, 1.0, 8.0", 2.0),
        ("'inf', 1.0, null", np.inf),
        ("0.0, 3.0, null", 0.0),
        ("null, null, null", None),
    ],
)
def test_a_scale_is_the_geometric_mean_of_the_axes_that_have_one(values, expected):
    typed = ", ".join(f"{value}::double" for value in values.split(", "))
    assert answer("sigma_x, sigma_y, sigma_z", typed, SIGMA) == pytest.approx(expected)


@pytest.mark.parametrize(("sides", "name"), [("null, null, 31", "31"), ("null, 7, 5", "7x5"), ("5, 3, 3", "5x3x3")])
def test_kernels_are_named_by_their_sides(sides, name):
    columns = "kernel_depth, kernel_height, kernel_width"
    assert answer(columns, sides, KERNEL) == name
    assert answer(columns, sides, TAPS) == np.prod([int(side) for side in name.split("x")])
