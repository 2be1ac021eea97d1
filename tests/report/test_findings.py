"""Claims tested on an atlas: planted truths are found, noise is not, and every number can be asked again."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import torch
from safetensors.torch import save_file
from scipy import stats
from typer.testing import CliRunner

import scalekeys as sk
from scalekeys.cli import app
from scalekeys.errors import AtlasError, DataError, OutputError
from scalekeys.report.atlas.questions import KERNELS
from scalekeys.report.findings import Findings, questions, write_findings
from scalekeys.report.findings.claims import QUESTIONS, claims
from scalekeys.report.findings.estimates import mean_over_designs, order_in_series
from scalekeys.report.findings.finding import Comparison
from scalekeys.report.findings.markdown import _cell
from scalekeys.report.findings.questions import Names

DOCS = Path(__file__).parents[2] / "docs" / "findings"

LAYERS, CHANNELS = 6, 16


def weights(seed: int, noise: float, dead: int = 0) -> dict[str, torch.Tensor]:
    """One-sided differences and smoothings of 5x5 whose scale grows with depth, with noise; some are zero."""
    draw = torch.Generator().manual_seed(seed)
    result = {}
    for layer in range(LAYERS):
        sigma = torch.full((CHANNELS, 2), 0.4 + 0.15 * layer)
        kinds = [sk.scalespace.template(family, sigma, 5) for family in ("dx+", "dy-", "smooth")]
        filters = torch.stack([kinds[channel % 3][channel] for channel in range(CHANNELS)])
        filters /= torch.linalg.vector_norm(filters, dim=(1, 2), keepdim=True)
        mixed = (1 - noise) * filters + noise * torch.randn(filters.shape, generator=draw) / 5
        mixed[:dead] = 0
        result[f"blocks.{layer}.dw.weight"] = mixed[:, None].contiguous()
    return result


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Eight designs of trained filters, with a series of four sizes whose scores go with the noise."""
    folder = tmp_path_factory.mktemp("atlas")
    rows = ["source,architecture,task,metric,metric_value,parameters,licence,origin"]
    for number in range(8):
        save_file(weights(number, 0.2 + 0.02 * number, dead=4 * (number == 3)), folder / f"net{number}.safetensors")
        rows.append(f"net{number}.safetensors,Design{number},sorting,,,{number},MIT,a|b_{number}")
    for size in range(4):
        save_file(weights(20 + size, 0.6 - 0.15 * size), folder / f"series{size}.safetensors")
        rows.append(f"series{size}.safetensors,Row-{size},sorting,top-1,{60 + size},{size},MIT,here")
    (folder / "list.csv").write_text("\n".join(rows))
    sk.atlas.build([folder / "list.csv"], folder / "atlas", workers=0)
    return sk.atlas.open(folder / "atlas")


@pytest.fixture(scope="module")
def written(atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("findings") / "out"
    return write_findings(atlas, folder), folder


def by_name(found: Findings):
    return {finding.name: finding for finding in found.findings}


def test_planted_truths_are_found(written):
    found, _ = written
    findings = by_name(found)
    for name in ("formation", "families", "alignment", "depth"):
        test = findings[name].tests[0]
        assert found.verdict(test) == "supported", (name, test)
        assert (test.networks, test.designs) == (12, 9)
    assert found.verdict(findings["half-pixel"].tests[0]) == "measured"
    offset = csv_rows(findings["half-pixel"].tables["half-pixel"])
    assert all(float(row["value"]) > 0.2 for row in offset if "net" in row["source"])
    dead = {row["source"].rsplit("/")[-1]: row for row in csv_rows(findings["dead"].tables["dead"])}
    assert dead["net3.safetensors"]["dead"] == "24"
    assert sum(int(row["dead"]) for row in dead.values()) == 24


def test_the_series_goes_with_what_was_planted(written):
    found, _ = written
    orders = {row["statistic"]: row for row in csv_rows(by_name(found)["performance"].tables["orders"])}
    assert orders["r2"]["group"] == "Row"
    assert float(orders["r2"]["rho"]) == pytest.approx(1)
    assert float(orders["r2"]["p"]) == pytest.approx(2 / 24)
    assert found.verdict(next(t for t in by_name(found)["performance"].tests if "mean r" in t.what)) == "undecided"


def test_filters_with_one_infinite_scale_count_as_flat(tmp_path):
    lines = torch.zeros(32, 1, 5, 5)
    lines[:, :, 2] = 1  # no extent along y, and no end along x
    lines += 0.01 * torch.randn(lines.shape, generator=torch.Generator().manual_seed(0))
    lines[16:] = torch.randn(16, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    save_file({"dw.weight": lines}, tmp_path / "lines.safetensors")
    sk.atlas.build([tmp_path / "lines.safetensors"], tmp_path / "atlas", workers=0)
    atlas = sk.atlas.open(tmp_path / "atlas")
    (row,) = atlas.sql(questions.flat_scales(Names([]))).to_arrow().to_pylist()
    rows = atlas.sql("select * from filters order by channel").to_pandas()
    infinite = np.isinf(rows[["sigma_x", "sigma_y"]]).any(axis=1)
    assert (infinite & (rows.sigma_y == 0)).any()
    assert row["filters"] == 32
    assert row["value"] == pytest.approx(infinite.mean())
    assert row["matched"] == pytest.approx((~np.isfinite(rows.sigma_matched.astype(float))).mean())


def test_noise_supports_no_claim_about_structure(tmp_path):
    draw = torch.Generator().manual_seed(0)
    for number in range(6):
        save_file({"dw.weight": torch.randn(64, 1, 5, 5, generator=draw)}, tmp_path / f"net{number}.safetensors")
    sk.atlas.build([tmp_path / "*.safetensors"], tmp_path / "atlas", workers=0)
    found = write_findings(sk.atlas.open(tmp_path / "atlas"), tmp_path / "out")
    findings = by_name(found)
    assert {found.verdict(findings[name].tests[0]) for name in ("families", "alignment", "separability")} == {
        "undecided"
    }
    assert "performance" not in findings
    assert "depth" not in findings  # one layer a network
    assert " are like noise" in findings["formation"].sentence


def test_every_table_is_the_answer_of_its_query(atlas, written):
    found, folder = written
    for finding in found.findings:
        for name, query in finding.queries.items():
            answer = atlas.sql((folder / "queries" / f"{name}.sql").read_text()).to_arrow()
            if name != "formation":  # whose ranks become intervals
                assert answer.equals(finding.tables[name]), name
            kept = pa_csv.read_csv(folder / "tables" / f"{name}.csv")
            assert kept.num_rows == answer.num_rows
            assert query.strip() + "\n" == (folder / "queries" / f"{name}.sql").read_text()


def test_the_page_names_all_claims_tests_and_networks(written):
    found, folder = written
    text = (folder / "README.md").read_text()
    for finding in found.findings:
        assert finding.sentence in text
        assert finding.limit in text
        assert f"(#{finding.name})" in text
        assert (folder / "figures" / f"{finding.name}.png").read_bytes().startswith(b"\x89PNG")
    table = text.split("## All comparisons")[1]
    assert table.count("\n| ") == 1 + len(found.adjusted)
    networks = (folder / "networks.md").read_text()
    assert networks.count("\n| ") == 1 + 12
    assert "a\\|b\\_3" in networks
    (row,) = (line for line in networks.splitlines() if "net3" in line)
    assert f"| {LAYERS * CHANNELS} | 5x5 | 24 |" in row  # dead filters are counted too


def test_the_same_atlas_gives_the_same_bytes(atlas, written, tmp_path):
    _, folder = written
    write_findings(atlas, tmp_path / "again")
    for file in sorted(folder.rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folder)).read_bytes(), file.name


def test_an_atlas_that_can_test_nothing_is_refused(tmp_path):
    save_file({"dw.weight": torch.randn(4, 1, 1, 3)}, tmp_path / "tiny.safetensors")
    sk.atlas.build([tmp_path / "tiny.safetensors"], tmp_path / "atlas", workers=0)
    found = write_findings(sk.atlas.open(tmp_path / "atlas"), tmp_path / "out")
    assert [finding.name for finding in found.findings] == ["dead"]
    assert found.verdict(found.findings[0].tests[0]) == "measured"
    with pytest.raises(AtlasError, match="holds no atlas"):
        write_findings(sk.atlas.open(tmp_path), tmp_path / "other")


def test_the_command_writes_the_page_and_refuses_to_replace_it(atlas, written, tmp_path):
    found, folder = written
    source = str(atlas._layout.folder)
    result = CliRunner().invoke(app, ["atlas", "findings", source, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    for finding in found.findings:
        assert finding.title in result.output
    again = CliRunner().invoke(app, ["atlas", "findings", source, "-o", str(tmp_path / "out")])
    assert isinstance(again.exception, OutputError)
    assert "out: this output folder exists already; give --force to replace" in str(again.exception)


def test_means_and_intervals_are_students():
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    found = mean_over_designs(values, [f"d{i}" for i in range(12)])
    other = stats.ttest_1samp(values, 0)
    low, high = other.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, other.pvalue))
    twice = mean_over_designs([*values, *values], [f"d{i}" for i in range(12)] * 2)
    assert (twice.low, twice.high, twice.networks) == (found.low, found.high, 24)
    assert mean_over_designs([1.0, 2.0], ["a", "b"]).low is None


def test_orders_in_series_are_those_of_all_permutations():
    draw = np.random.default_rng(1)
    for count in (3, 5, 6):
        x, y = draw.normal(size=(2, count))
        found = order_in_series(list(x), list(y))
        expected = stats.permutation_test(
            (x,),
            lambda a, y=y: abs(stats.spearmanr(a, y).statistic),
            permutation_type="pairings",
            n_resamples=10_000,
            alternative="greater",
        )
        assert abs(found.rho) == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue)
    assert order_in_series([1.0, 2.0], [1.0, 2.0]) is None
    assert order_in_series([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert order_in_series([1.0, None, 3.0, 2.0], [1.0, 2.0, 3.0, 2.0]).networks == 3


def test_deciding_and_further_comparisons_are_adjusted_for_their_numbers():
    tests = tuple(Comparison(str(i), 1.0, 0.5, 1.5, p, 1, 9, 9) for i, p in enumerate((0.01, 0.03, 0.2)))
    findings = Findings((finding_of(tests[:2]), finding_of(tests[2:])))
    assert [findings.adjusted[test] for test in tests] == pytest.approx([0.02, 0.03, 0.2])
    assert [findings.verdict(test) for test in tests] == ["supported", "supported", "undecided"]
    more = Findings((finding_of((tests[0], tests[1], replace(tests[1], what="again"))),))
    assert [more.adjusted[test] for test in more.adjusted] == pytest.approx([0.01, 0.06, 0.06])


def test_claims_about_keys_rest_on_tables_beside_the_atlas(atlas, tmp_path):
    groups = [f"g{i}" for i in range(6)]
    task_rows = [f"3x3,{g},2,2,100,0.6,{0.5 + 0.01 * i},0.4,0.45,0.2,0.3" for i, g in enumerate(groups)]
    tasks = "kernel,group,networks,series,filters,own,held_out,published,matched_noise,white_noise,random"
    (tmp_path / "universal_tasks.csv").write_text("\n".join([tasks, *task_rows]))
    head = "network,series,kernel,k,explained,matched_noise,white_noise,"
    head += "like_published_explained,like_published_matched_noise"
    rows = [f"n{i},s{i},3x3,{k},{k / 20},{k / 25 + 0.01 * i},0.1,0.7,0.{50 + i}" for i in range(6) for k in (4, 8)]
    (tmp_path / "universal_networks.csv").write_text("\n".join([head, *rows]))
    found = by_name(write_findings(atlas, tmp_path / "out", keys=tmp_path))
    assert found["universal-keys"].tests[0].value == pytest.approx(0.075)
    assert found["keys-needed"].tests[0].value == pytest.approx(8 / 20 - 8 / 25 - 0.025)
    assert "--keys KEYS" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "universal_tasks.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"universal_tasks.csv: has no column 'group'"):
        write_findings(atlas, tmp_path / "other", keys=tmp_path)
    (tmp_path / "universal_tasks.csv").write_text("group,kernel,held_out,own\na,3x3,1,2\n")
    with pytest.raises(DataError, match=r"universal_tasks.csv: has no column 'matched_noise'"):
        write_findings(atlas, tmp_path / "other", keys=tmp_path)
    for line, sentence in (("a,s,3x3,8,x,1,1,1,1", "column 'explained' holds"), ("a,s,3x3,4,1,1,1,1,1", "no row of 8")):
        (tmp_path / "universal_networks.csv").write_text(f"{head}\n{line}\n")
        (tmp_path / "universal_tasks.csv").write_text("\n".join([tasks, *task_rows]))
        with pytest.raises(DataError, match=sentence):
            write_findings(atlas, tmp_path / "other", keys=tmp_path)
    with pytest.raises(DataError, match=r"universal_networks.csv: cannot be read"):
        write_findings(atlas, tmp_path / "other", keys=tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def test_the_queries_of_the_published_page_are_those_that_are_asked():
    names = Names(["architecture", "task", "metric", "metric_value", "parameters"])
    asked = {claim.name: QUESTIONS[claim.name](names) for claim in claims()}
    asked |= {"dead": questions.dead(names), "performance": questions.performance(names)}
    asked |= {"all_offsets": questions.all_offsets(names), "scales_by_pitch": questions.scales_by_pitch(names)}
    asked |= {"formation": KERNELS}
    kept = {file.stem: file.read_text() for file in (DOCS / "queries").glob("*.sql")}
    assert kept == {name: query.strip() + "\n" for name, query in asked.items()}


def test_cells_of_markdown_stay_cells():
    assert _cell("a|b\nc") == "a\\|b c"
    assert _cell("<script>") == "&lt;script>"
    assert _cell("a\\|b") == "a\\\\\\|b"
    assert _cell("[a](b)`c`") == "\\[a](b)\\`c\\`"
    assert _cell(None) == ""


def finding_of(tests):
    from scalekeys.report.findings import Finding

    return Finding("a", "A.", "", "", "", tests, {}, {}, None)


def csv_rows(table):
    buffer = io.BytesIO()
    pa_csv.write_csv(table, buffer)
    return list(csv.DictReader(io.StringIO(buffer.getvalue().decode())))
