"""The pieces that pages share: profiles, slices, an axis of scales, families by name, numbers of summaries."""

import re

import numpy as np
import pytest

from scalekeys.report.page.families import by_kind, family_colour, family_symbol, template_example
from scalekeys.report.page.pictures import filter_picture, shown_slices
from scalekeys.report.page.profiles import profile
from scalekeys.report.page.scale_axis import ScaleAxis
from scalekeys.report.page.words import significant, size_name


def test_a_profile_rises_with_its_values_and_breaks_where_there_is_none():
    drawn = str(profile(np.array([-1.0, 0.0, 1.0, np.nan, 0.5]), 1.0, 'a "kernel"'))
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert len(heights) == 4
    assert heights[0] > heights[1] == 31 > heights[3] > heights[2]
    line = re.search(r'class="line" d="([^"]+)"', drawn).group(1)
    assert (line.count("M"), line.count("L")) == (2, 2)
    assert 'aria-label="a &#34;kernel&#34;"' in drawn


def test_a_long_profile_has_no_marks_and_one_behind_it_is_fainter():
    values = np.sin(np.arange(100.0))
    drawn = str(profile(values, 1.0, "long", behind=values))
    assert "<circle" not in drawn
    assert drawn.index('class="behind"') < drawn.index('class="line"')


def test_values_beyond_the_limit_are_clipped():
    inside, beyond = (str(profile(np.array([0.0, top]), 1.0, "clipped")) for top in (1.0, 5.0))
    assert inside == beyond


def test_slices_are_those_with_energy_below_each_other():
    values = np.zeros((7, 2, 3))
    values[1], values[3], values[4] = 1.0, -1.0, 0.5
    assert shown_slices(values) == [1, 2, 4]
    drawn = str(filter_picture(values, 1.0, "video"))
    assert drawn.count("<rect") == 3
    assert 'viewBox="0 0 3 6.7"' in drawn
    values = f"values from {significant(-1)} to 1"
    assert f"video, {size_name('7x2x3')}, {values}, slices 2, 3, 5 of 7 along z" in drawn
    assert drawn.count("h1v1h-1z") == 12


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 2, 3])])
def test_few_slices_are_all_shown(count, expected):
    assert shown_slices(np.ones((count, 2, 2))) == expected


def test_an_axis_of_scales_keeps_their_order_and_ends():
    scales = np.array([0.0, 0.3, 1.0, 7.0, 500.0, np.inf])
    axis = ScaleAxis.of(scales)
    places = axis.places(scales)
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert axis.places(np.array([np.nan])) == [None]
    ticks = axis.ticks(0.08)
    gaps = np.diff(ticks["tickvals"])
    assert (gaps >= 0.08 - 1e-4).all()


def test_an_axis_without_infinite_scales_ends_at_the_largest():
    axis = ScaleAxis.of(np.array([1.0, 3.0]))
    assert axis.ticks(0.05)["ticktext"][-1] != "∞"
    assert axis.end == pytest.approx(axis.places(np.array([3.0]))[0], abs=1e-3)
    assert ScaleAxis.of(np.array([np.nan])).end < 1


def test_every_family_has_a_colour_and_those_of_three_axes_their_own():
    names = ["dy+", "dx-", "dy-", "dx+", "dx", "dy", "dz+", "dz-", "dz", "sharpen", "smooth"]
    assert len({family_colour(name) for name in names}) == len(names)
    assert len({family_symbol(name) for name in names}) == len(names)
    assert family_colour("something new") == family_colour("something else")
    assert by_kind(["dz+", "dxz", "dy", "dog", "laplacian"]) == ["dog", "dxz", "laplacian", "dy", "dz+"]


def test_the_template_of_a_mixture_is_all_its_components():
    assert template_example("jet2").shape == (7, 7)
    assert np.isfinite(template_example("dog")).all()
