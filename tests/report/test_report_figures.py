"""Figures and pictures as data: what they show, what they leave out, and what they say about it."""

import re

import numpy as np
import pytest
import torch
from analysis_cases import analysis_of, fits_of, fitted, page_of

import scalekeys as sk
from scalekeys.report.analysis.figures import depth_profile, family_mix
from scalekeys.report.analysis.histograms import BINS, r2_histograms
from scalekeys.report.analysis.scale_figures import MAX_POINTS, scale_histogram, scale_scatter
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.pictures import common_limit, filter_picture
from scalekeys.report.page.words import SIGMA, number, significant, size_name


@pytest.fixture
def analysis():
    return analysis_of("network")


def test_the_bars_of_a_layer_add_up(analysis):
    figure = family_mix(analysis)
    shares = np.array([trace["x"] for trace in figure.data])
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-4)
    families = {trace["name"] for trace in figure.data}
    assert families == {family.family for family in analysis.summary.families if family.filters}


def test_a_bar_tells_layer_family_and_count(analysis):
    layer = analysis.summary.layers[1]
    trace = next(trace for trace in family_mix(analysis).data if trace["name"] == layer.main_family)
    text = trace["hovertext"][1]
    assert layer.name in text.replace("<br>", "")
    assert f"{layer.main_family}: {layer.families[layer.main_family]} of 30 filters" in text


@pytest.mark.parametrize(("bank", "most"), [("keys", 120), ("network", 200), ("deep", 1600)])
def test_the_mix_stays_readable_from_one_layer_to_a_hundred(bank, most):
    figure = family_mix(analysis_of(bank))
    assert figure.layout["height"] <= most
    labels = figure.layout["yaxis"]["ticktext"]
    assert max(len(re.sub("&[a-z]+;", "x", label)) for label in labels) <= 26
    assert len(labels) == len(figure.layout["yaxis"]["tickvals"]) == len(figure.narrow["yaxis.ticktext"])


def test_labels_drop_what_all_layers_share(analysis):
    assert [label.strip() for label in family_mix(analysis).layout["yaxis"]["ticktext"]] == [
        "blocks.0",
        "blocks.1",
        "blocks.2",
        "blocks.3",
    ]


def test_every_filter_with_two_scales_is_a_point(analysis):
    figure, eligible, shown = scale_scatter(analysis)
    assert eligible == shown == analysis.summary.quality.fitted
    assert sum(len(trace["x"]) for trace in figure.data) == shown
    scales = analysis.sigma[analysis.fitted]
    middle = np.median(scales[(scales > 0) & np.isfinite(scales)])
    assert figure.layout["xaxis"]["ticktext"][0] == "0"
    one = figure.layout["xaxis"]["tickvals"][figure.layout["xaxis"]["ticktext"].index("1")]
    unit = 1 / one - 1  # a scale s stands at s / (unit + s)
    assert 0.5 < middle / unit < 2
    for trace in figure.data:
        mine = analysis.fit.family == trace["name"]
        for name, axis in (("x", 0), ("y", 1)):
            places = 1 / (1 + unit / np.maximum(analysis.sigma[mine, axis], 1e-12))  # an infinite one at 1
            np.testing.assert_allclose(trace[name], places, atol=2e-4)  # four decimals


def test_a_point_tells_layer_channel_and_fit(analysis):
    trace = scale_scatter(analysis)[0].data[0]
    index = int(np.flatnonzero(analysis.fit.family == trace["name"])[0])
    text = trace["hovertext"][0]
    assert analysis.layer_name(index) in text.replace("<br>", "")
    assert f"channel {analysis.channel[index]}," in text
    assert f"r² {analysis.r2[index]:.2f}" in text


def test_many_points_are_thinned_evenly_and_the_page_says_so():
    analysis = analysis_of("many")
    figure, eligible, shown = scale_scatter(analysis)
    assert (eligible, shown) == (10_000, MAX_POINTS)
    assert sum(len(trace["x"]) for trace in figure.data) == MAX_POINTS
    layers = [text.split("</b>")[0] for trace in figure.data for text in trace["hovertext"]]
    assert set(np.unique(layers, return_counts=True)[1]) <= set(range(399, 402))
    assert scale_scatter(analysis)[0].data == figure.data
    assert "Shown are 4000 of 10 000 filters" in page_of("many").text


def test_one_tap_has_no_scale_and_the_page_says_so():
    _, eligible, shown = scale_scatter(analysis_of("rows"))
    assert eligible == shown == 0
    assert scale_histogram(analysis_of("rows"))[1] == 18
    sigma = analysis_of("rows").sigma
    x, y = map(number, np.nanmedian(sigma, axis=0))
    page = page_of("rows")
    assert "scales" not in page.figures
    assert "scales-one-axis" in page.figures
    assert f"The medians are {SIGMA}x {x} and {SIGMA}y {y} pixels." in page.text
    assert "18 filters have a single tap along an axis, and no scale there." in page.text


def test_histograms_stand_apart_by_kernel_size_with_both_controls(analysis):
    figure = r2_histograms(analysis)
    titles = [annotation["text"] for annotation in figure.layout["annotations"]]
    assert [title[3:6] for title in titles] == [size_name(size) for size in ("7x7", "5x5", "3x3")]
    assert titles[-1].endswith(", 20 filters")  # the four without a fit are in no bin
    assert len(figure.data) == 9
    for bars, *noises in zip(*(figure.data[place::3] for place in range(3)), strict=True):
        assert [trace["name"] for trace in (bars, *noises)] == ["filters", "matched noise", "white noise"]
        assert len(bars["y"]) == BINS
        for trace in (bars, *noises):
            assert sum(trace["y"]) == pytest.approx(1, abs=1e-3)
    medians = [shape["x0"] for shape in figure.layout["shapes"]]
    qualities = [size.quality for size in analysis.summary.sizes]
    expected = [(quality.median_r2, quality.matched_median_r2, quality.white_median_r2) for quality in qualities]
    assert medians == [value for three in expected for value in three]


def test_the_profile_skips_layers_without_a_fit():
    bank = sk.FilterBank(
        (*fitted("network")[0].bank.layers[:2], sk.LayerFilters("dead", torch.zeros(5, 7, 7), depth=2)),
        model="part dead",
    )
    figure = depth_profile(Analysis.of(*fits_of(bank)))
    for trace in figure.data:
        if trace["mode"] == "markers":
            assert trace["y"][2] is None
            assert None not in trace["y"][:2]


def test_examples_are_ranked(analysis):
    for family in analysis.fit.spec.families:
        picks = dict(analysis.examples(family))
        mine = analysis.fit.family == family
        if len(picks) == 3:
            best, middle, worst = (analysis.r2[picks[name]] for name in ("best", "median", "worst"))
            assert best == analysis.r2[mine].max()
            assert worst == analysis.r2[mine].min()
            assert abs((analysis.r2[mine] > middle).sum() - (analysis.r2[mine] < middle).sum()) <= 1
        assert not analysis.fit.dead[list(picks.values())].any()


def test_models_of_a_few_filters_are_those_of_the_whole_fit(analysis):
    stacks = [layer.kernels.double().numpy() for layer in analysis.fit.kernels().layers]
    everything = [kernel for stack in stacks for kernel in stack]
    chosen = [0, 45, 80, 99]
    for index, (learned, model) in zip(chosen, analysis.filters_and_models(chosen), strict=True):
        np.testing.assert_array_equal(model, everything[index])
        channel = analysis.channel[index]
        source = analysis.fit.bank.layers[analysis.layer[index]].kernels[channel]
        np.testing.assert_array_equal(learned, source.double().numpy())


def test_a_picture_has_one_square_a_tap_and_says_what_it_shows():
    values = np.array([[1.0, -2.0, 0.0], [0.5, 0.5, np.nan]])
    picture = str(filter_picture(values, common_limit(values), 'a "filter"'))
    assert picture.count("h1v1h-1z") == 5  # all but the zero
    assert 'class="negative" fill-opacity="1" d="M1 0h1v1h-1z"' in picture
    assert 'class="positive" fill-opacity="0.25" d="M0 1h1v1h-1zM1 1h1v1h-1z"' in picture
    assert 'class="missing"' in picture
    assert f'aria-label="a &#34;filter&#34;, {size_name("2x3")}, values from {significant(-2)} to 1"' in picture
    assert 'role="img"' in picture


def test_learned_model_and_residual_share_one_range():
    page = page_of("keys")
    ranges = [a["aria-label"] for a in page.of("div") if a.get("class") == "range"]
    assert len(ranges) == 8
    pictures = [a["aria-label"] for a in page.of("svg")]
    assert sum(text.startswith(f"learned filter, {size_name('7x7')}") for text in pictures) == 8
    largest = float(sk.master_keys()[5].abs().max())
    assert float(ranges[5].split()[-1]) >= round(largest, 3)
