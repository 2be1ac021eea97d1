"""Which filters of an atlas gain from a free angle: columns, the question, and the section of the page."""

import csv

import numpy as np
import pytest
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.proportions import wilson_interval
from scalekeys.report.atlas import render_atlas_report, write_atlas_report
from scalekeys.report.atlas.orientation import by_kernel
from scalekeys.report.atlas.summary import summarize_atlas
from scalekeys.report.page.orientation import Verdict
from scalekeys.report.page.words import count, number, percent, size_name
from turned_filters import derivatives

FILTERS = 100
ANGLES = {"aligned": (0, 90), "other": (90, 0), "turned": (30, 60)}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Two networks of filters along the axes, one of filters at 30 degrees to them, and one of kernels of one row."""
    folder = tmp_path_factory.mktemp("atlas")
    for seed, (name, angles) in enumerate(ANGLES.items()):
        layers = {f"{n}.weight": derivatives(angle, FILTERS, seed)[:, None] for n, angle in enumerate(angles)}
        save_file(layers, folder / f"{name}.safetensors")
    save_file({"row.weight": derivatives(0, 8)[:, None, 3:4].contiguous()}, folder / "row.safetensors")
    sk.atlas.build([folder / "*.safetensors"], folder / "atlas")
    return sk.atlas.open(folder / "atlas")


@pytest.fixture(scope="module")
def filters(atlas):
    frame = atlas.sql("select * from filters").to_pandas()
    frame["gain"] = frame.r2_oriented - np.maximum(frame.r2_aligned, frame.r2)
    return frame


def test_planted_angles_stand_in_the_columns(filters):
    turned = filters[filters.source.str.contains("turned")]
    assert (turned.gain > 0.05).all()
    planted = np.where(turned["layer"] == "0", 30, 60)
    np.testing.assert_allclose(np.degrees(turned.angle_oriented) % 180, planted, atol=7.6)
    square = filters[filters.source.str.contains("aligned|other")]
    assert (square.gain < 0.05).all()
    assert filters[filters.kernel_height == 1].gain.isna().all()


def test_the_question_counts_by_kernel_and_network(atlas, filters):
    rows = atlas.named("orientation").to_pandas()
    assert list(rows.columns) == [
        *("kernel", "source", "filters", "gaining", "gaining_matched", "gaining_white"),
    ]
    assert len(rows) == len(ANGLES)
    for row in rows.itertuples():
        mine = filters[filters.source == row.source]
        assert (row.kernel, row.filters) == ("7x7", 2 * FILTERS)
        assert row.gaining == pytest.approx((mine.gain > 0.05).mean())
        assert row.gaining_matched == pytest.approx((mine.gain_matched > 0.05).mean())
        assert row.gaining_white == pytest.approx((mine.gain_white > 0.05).mean())


def test_the_page_shows_shares_with_intervals_beside_both_controls(atlas, filters):
    summary = summarize_atlas(atlas)
    ((found, _),) = by_kernel(summary.rows("orientation"))
    known = filters[filters.gain.notna()]
    shares = (found.real, found.matched, found.white)
    for share, gains in zip(shares, (known.gain, known.gain_matched, known.gain_white), strict=True):
        assert (share.filters, share.gaining) == (600, (gains > 0.05).sum())
        assert (share.low, share.high) == wilson_interval(share.gaining, 600)
    page = render_atlas_report(summary, "turned")
    assert f'<th scope="row">{size_name("7x7")}</th><td class="num">{count(600)}</td>' in page
    for share in shares:
        assert f"{percent(share.share)} ({number(100 * share.low, 1)} to {percent(share.high)})" in page


def test_the_page_says_in_how_many_networks_it_is_so(atlas):
    table = summarize_atlas(atlas).tables["orientation"].to_pylist()
    of_network = {row["source"].split("/")[-1]: row["beside_noise"] for row in table if row["source"]}
    assert of_network["turned.safetensors"] == "more"  # than white noise: matched noise has the angles of its layer
    ((_, networks),) = by_kernel(table)
    assert sum(networks.values()) == len(ANGLES)
    assert networks[Verdict.MORE] == 1


def test_the_table_stands_beside_the_page(atlas, tmp_path):
    write_atlas_report(atlas, tmp_path / "report")
    with (tmp_path / "report" / "orientation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + len(ANGLES)
    assert rows[0]["source"] == ""
    assert {"share", "low", "high", "matched_share", "white_high", "beside_noise"} <= set(rows[0])


def test_an_atlas_without_an_angle_says_so(tmp_path):
    save_file({"row.weight": derivatives(0, 8)[:, None, 3:4].contiguous()}, tmp_path / "row.safetensors")
    sk.atlas.build([tmp_path / "row.safetensors"], tmp_path / "atlas")
    summary = summarize_atlas(sk.atlas.open(tmp_path / "atlas"))
    assert summary.rows("orientation") == []
    assert "No filter has an angle that was measured" in render_atlas_report(summary, "rows")
