"""Pages of kernels with one axis, with three and with even sides: profiles, slices, scales along every axis."""

import json
from functools import lru_cache

import numpy as np
import pytest
import torch
from analysis_cases import SECTIONS
from axes_banks import BANKS, bank_of
from parsed_page import ParsedPage

import scalekeys as sk
from scalekeys.report.analysis.api import render_analysis
from scalekeys.report.analysis.figures import depth_profile
from scalekeys.report.analysis.scale_figures import scale_histogram, scale_scatter
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.keys import render_keys_report
from scalekeys.report.page.scale_axis import ScaleAxis
from scalekeys.report.page.words import INFINITY, SIGMA


def fits_of(bank):
    return tuple(sk.fit(one, "ideal") for one in (bank, sk.white_noise_like(bank), sk.matched_noise_like(bank)))


@lru_cache
def analysis_of(name):
    return Analysis.of(*fits_of(BANKS[name]()))


@lru_cache
def page(name):
    return ParsedPage(render_analysis(analysis_of(name)))


@pytest.mark.parametrize(
    ("name", "axes", "sizes"),
    [
        ("time", ("x",), ["9", "3"]),
        ("video", ("x", "y", "z"), ["5x3x3"]),
        ("even", ("x",), ["4", "2"]),
        ("mixed", ("x", "y", "z"), ["3x3x3", "7x7", "31"]),
    ],
)
def test_a_summary_has_a_scale_for_each_axis_and_sizes_as_they_are(name, axes, sizes):
    summary = analysis_of(name).summary
    assert summary.axis_names == axes
    assert [size.size for size in summary.sizes] == sizes
    for layer in summary.layers:
        known = {axis for axis, value in layer.median_sigma.items() if value is not None}
        assert known == set(axes[: layer.size.count("x") + 1])
    json.loads(json.dumps(summary.to_dict(), allow_nan=False))


def test_medians_are_those_of_the_fit():
    analysis = analysis_of("video")
    sigma = analysis.fit.sigma[:12].numpy()
    for place, axis in enumerate("xyz"):
        assert analysis.summary.layers[0].median_sigma[axis] == pytest.approx(np.median(sigma[:, place]))


@pytest.mark.parametrize("name", BANKS)
def test_every_page_has_all_its_sections(name):
    sections = [attributes["id"] for attributes in page(name).of("section")]
    turned = ["orientation"] if name == "mixed" else []
    everything = SECTIONS[:8] + turned + SECTIONS[8:]
    assert sections == everything
    assert "nan" not in page(name).text.split()


def test_kernels_of_one_axis_are_profiles():
    pictures = [a for a in page("time").of("svg") if a["class"].startswith("filter")]
    assert {a["class"] for a in pictures} == {"filter profile"}
    assert any(a["aria-label"].startswith("learned filter, 9 taps, values from") for a in pictures)
    assert "Behind the line of a model the learned filter stands faintly." in page("time").text
    assert "kernels of 9 taps" in page("time").text


def test_kernels_of_three_axes_are_slices_which_learned_model_and_residual_share():
    labels = [a["aria-label"] for a in page("video").of("svg")]
    shown = [label.rpartition(", slices ")[2] for label in labels if label.startswith(("learned", "model", "residual"))]
    assert shown
    assert all(label.endswith("of 5 along z") for label in shown)
    assert all(len(set(shown[place : place + 3])) == 1 for place in range(0, len(shown), 3))


def test_scales_have_a_figure_for_each_pair_of_axes_and_one_for_a_single_axis():
    assert {"scales", "scales-xz", "scales-yz"} <= page("video").figures.keys()
    assert "scales-one-axis" not in page("video").figures
    assert "scales-one-axis" in page("time").figures
    assert "scales" not in page("time").figures
    assert {"scales", "scales-xz", "scales-yz", "scales-one-axis"} <= page("mixed").figures.keys()


def test_every_scale_of_one_axis_is_in_a_bin():
    analysis = analysis_of("time")
    figure, shown = scale_histogram(analysis)
    assert shown == int(analysis.fitted.sum()) == sum(sum(trace["y"]) for trace in figure.data)


def test_a_point_has_the_scales_of_its_filter_along_the_axes_of_the_figure():
    analysis = analysis_of("video")
    figure, eligible, shown = scale_scatter(analysis, 0, 2)
    assert eligible == shown == int(analysis.fitted.sum())
    axis = ScaleAxis.of(analysis.sigma[:, [0, 2]])
    for trace in figure.data:
        mine = analysis.fit.family == trace["name"]
        assert trace["x"] == axis.places(analysis.sigma[mine, 0])
        assert trace["y"] == axis.places(analysis.sigma[mine, 2])


def test_infinite_scales_stand_at_the_end_of_the_axis_and_are_told_in_words():
    analysis = analysis_of("time")
    infinite = int((analysis.fit.status == "polynomial").sum())
    assert infinite == int(analysis.infinite.sum()) > 0
    figure, _ = scale_histogram(analysis)
    assert figure.layout["xaxis"]["ticktext"][-1] == INFINITY
    last = sum(trace["y"][-1] for trace in figure.data)
    assert last >= infinite
    text = page("time").text
    assert f"{infinite} filters polynomial" in text
    assert "Inside its window the receptive field is a polynomial" in text
    assert f"{infinite} filters have an infinite scale along an axis" in text
    assert f"{SIGMA}x {INFINITY}" in text


def test_an_infinite_median_is_drawn_at_the_end_and_written_inf_in_json():
    wide = bank_of((5,), (5,))
    slopes = wide.with_filters([torch.tensor([[-2.0, -1, 0, 1, 2]]).repeat(len(layer), 1) for layer in wide])
    analysis = Analysis.of(*fits_of(slopes))
    assert analysis.summary.layers[0].median_sigma["x"] == np.inf
    assert analysis.summary.to_dict()["layers"][0]["median_sigma"]["x"] == "inf"
    figure = depth_profile(analysis)
    assert figure.data[-1]["y"] == [1.0, 1.0]
    assert figure.layout["yaxis2"]["ticktext"][-1] == INFINITY
    render_analysis(analysis)


@pytest.mark.parametrize(("name", "axes"), [("time", "x"), ("video", "xyz")])
def test_keys_of_other_axes_have_a_page_without_published_matches(name, axes):
    bank = BANKS[name]()
    keys = sk.cluster(bank, 2, restarts=1)
    text = ParsedPage(render_keys_report(keys)).text
    assert "The eight published master keys have two axes, and are not compared with these." in text
    assert "Published matches" not in text
    assert f"{', '.join(f'{SIGMA}{axis}' for axis in axes)} of the model" in text
    assert "matched noise" in text
