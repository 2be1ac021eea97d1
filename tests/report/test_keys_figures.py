"""The figures of the page on keys, as data."""

import numpy as np
import pytest
from key_cases import found, view

from scalekeys.report.keys.figures import correlation_curve, coverage_over_depth, key_mix, number_of_keys
from scalekeys.report.page.plots import COLOURS, place_colour


def test_the_bars_of_a_layer_add_up():
    figure = key_mix(view("several").summary)
    total: dict[int, float] = {}
    for trace in figure.data:
        for y, x in zip(trace["y"], trace["x"], strict=True):
            total[y] = total.get(y, 0) + x
    np.testing.assert_allclose(list(total.values()), 1, atol=1e-4)
    assert sorted(set(range(11)) - set(total)) == [0, 4, 7]  # the rows that name the networks
    assert len(figure.data) == 14
    labels = figure.layout["yaxis"]["ticktext"]
    assert labels[0].strip() == "<b>a small network</b>"
    assert [label.strip() for label in labels[1:4]] == ["blocks.0", "blocks.1", "blocks.2"]


@pytest.mark.parametrize(("name", "most"), [("one", 120), ("network", 200), ("deep", 1600)])
def test_the_mix_stays_readable_from_one_layer_to_a_hundred(name, most):
    figure = key_mix(view(name).summary)
    assert figure.layout["height"] <= most
    labels = figure.layout["yaxis"]["ticktext"]
    assert len(labels) == len(figure.layout["yaxis"]["tickvals"]) == len(figure.narrow["yaxis.ticktext"])


def test_coverage_is_drawn_layer_by_layer_for_each_network():
    figure = coverage_over_depth(view("several").summary)
    expected = found("several")[0].coverage_by_layer(0.8)
    drawn = [value for trace in figure.data for value in trace["y"]]
    np.testing.assert_allclose(drawn, expected.coverage, atol=1e-5)
    assert [trace["x"] for trace in figure.data] == [[0, 1, 2], [0, 1], [0, 1, 2]]


def test_the_curve_of_correlations_tells_the_coverage_at_every_threshold():
    keys, _ = found("network")
    trace = correlation_curve(view("network")).data[0]
    assert trace["y"] == sorted(trace["y"], reverse=True)
    for bound in (0.5, 0.8, 0.95):
        place = trace["x"].index(bound)
        assert trace["y"][place] == pytest.approx(keys.coverage(bound), abs=1e-5)


def test_the_curve_of_k_marks_the_recommended_number():
    _, choice = found("network")
    figure = number_of_keys(view("network").summary)
    for trace, column in zip(figure.data, ("white_noise", "matched_noise", "explained"), strict=False):
        np.testing.assert_allclose(trace["y"], choice.table[column], atol=1e-5)
    bands = [shape for shape in figure.layout["shapes"] if shape["type"] == "rect"]
    assert [(band["x0"] + band["x1"]) / 2 for band in bands] == [choice.best]


def test_colours_begin_again_after_the_last():
    assert place_colour(COLOURS + 2) == place_colour(2)
