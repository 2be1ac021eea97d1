"""Whether filters gain from a free angle: planted filters, both controls, intervals, and what the page says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis_cases import fits_of
from parsed_page import ParsedPage, plain

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.proportions import wilson_interval
from scalekeys.report import render_report, summarize
from scalekeys.report.analysis.api import render_analysis
from scalekeys.report.analysis.gains import gains_of
from scalekeys.report.analysis.histograms import STEP, angle_histogram
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.orientation import Orientation, Verdict, meaning, share_of
from scalekeys.report.page.words import number, percent, size_name
from turned_filters import turned_bank


@pytest.fixture(scope="module")
def turned():
    return fits_of(turned_bank(30, 60))


@pytest.fixture(scope="module")
def summary(turned):
    return summarize(*turned)


@pytest.fixture(scope="module")
def aligned():
    return fits_of(turned_bank(0, 90))


def test_planted_filters_at_30_degrees_gain_and_their_angle_is_found(turned):
    gains = gains_of(turned)
    assert gains.real.clear.all()
    np.testing.assert_allclose(gains.real.angle, np.repeat([30, 60], 40), atol=STEP + 1e-9)


def test_planted_filters_along_the_axes_do_not_gain(aligned):
    gains = gains_of(aligned)
    assert np.isfinite(gains.real.gain).all()
    assert not gains.real.clear.any()
    assert gains.white.clear.any()


def test_the_summary_counts_filters_and_both_controls(turned, summary):
    (found,) = summary.orientation
    gains = gains_of(turned)
    assert found.size == "7x7"
    for share, gain in zip((found.real, found.white, found.matched), gains, strict=True):
        assert (share.filters, share.gaining) == (80, int(gain.clear.sum()))
        assert (share.low, share.high) == wilson_interval(share.gaining, 80)
        assert share.low <= share.share <= share.high
    entry = json.loads(json.dumps(summary.to_dict()))["orientation"][0]
    assert set(entry) == {"size", "real", "white", "matched"}
    assert set(entry["matched"]) == {"filters", "gaining", "share", "low", "high"}


def test_a_gain_is_beyond_the_better_of_aligned_templates_and_the_fit(turned):
    fit = turned[0]
    found = sk.orientation(fit.bank)
    gain = gains_of(turned).real.gain
    np.testing.assert_allclose(gain, found.free - torch.maximum(found.aligned, fit.r2))
    assert (found.gain_beyond(torch.ones(80)) <= 1e-6).all()
    assert found.gain_beyond(torch.full((80,), torch.nan)).isnan().all()


@pytest.mark.parametrize(
    ("real", "matched", "white", "verdict", "words"),
    [
        (10, 100, 200, Verdict.FEWER, "aligned with the axes"),
        (100, 10, 10, Verdict.MORE, "lie along other angles"),
        (900, 905, 200, Verdict.MORE, "lie along other angles"),
        (100, 10, 105, Verdict.MORE, "lie along other angles"),
        (10, 12, 200, Verdict.UNCLEAR, "cannot tell"),
        (10, 100, 12, Verdict.UNCLEAR, "cannot tell"),
        (800, 950, 200, Verdict.UNCLEAR, "cannot tell"),
    ],
)
def test_what_the_shares_mean_depends_on_the_intervals_of_both_controls(real, matched, white, verdict, words):
    found = Orientation("5x5", share_of(real, 1000), share_of(white, 1000), share_of(matched, 1000))
    assert found.verdict is verdict
    text = meaning([found])
    told = f"{percent(real / 1000)} against {percent(matched / 1000)} and {percent(white / 1000)}"
    assert plain(told) in plain(text)
    assert text.count(".") == told.count(".") + 1  # one sentence
    endings = ("aligned with the axes", "lie along other angles", "cannot tell")
    assert [one for one in endings if one in text] == [words]


def test_sizes_of_different_verdicts_share_a_sentence():
    few, many = share_of(10, 1000), share_of(100, 1000)
    text = meaning([Orientation("7x7", few, many, many), Orientation("3x3", few, many, few)])
    assert text.startswith(f"Of {size_name('7x7')} kernels fewer filters gain")
    assert f"; of {size_name('3x3')} kernels the figures cannot tell" in text


def test_where_all_filters_lie_at_an_angle_the_noise_that_shares_it_does_not_hide_it(summary):
    (found,) = summary.orientation
    assert found.real.gaining == 80
    assert found.verdict is Verdict.MORE


def test_the_page_shows_both_controls_with_intervals_and_the_angles(turned, summary):
    page = ParsedPage(render_report(*turned))
    (found,) = summary.orientation
    cells = [
        f"{percent(s.share)} ({number(100 * s.low, 1)} to {percent(s.high)})"
        for s in (found.real, found.matched, found.white)
    ]
    assert plain(f"{size_name('7x7')} 80 {' '.join(cells)}") in page.text
    assert plain(meaning([found])) in page.text
    bars, line = page.figures["angles"]["data"]
    assert (bars["name"], line["name"]) == ("filters", "matched noise")


def test_the_histogram_has_every_filter_that_gains(turned):
    gains = gains_of(turned)
    bars, line = angle_histogram(gains).data
    assert sum(bars["y"]) == pytest.approx(gains.real.clear.mean(), abs=1e-4)
    assert sum(line["y"]) == pytest.approx(gains.matched.clear.mean(), abs=1e-4)
    assert min(bars["x"]) == STEP
    assert max(bars["x"]) == 90 - STEP
    assert {x for x, y in zip(bars["x"], bars["y"], strict=True) if y} <= {22.5, 30, 37.5, 52.5, 60, 67.5}


@pytest.mark.parametrize("options", [{"model": "jet2"}, {"model": ("dx", "dy")}, {"criterion": "l1"}])
def test_other_fits_have_no_such_section(options):
    bank = turned_bank(30, count=4)
    fits = tuple(sk.fit(one, **options) for one in (bank, sk.white_noise_like(bank), sk.matched_noise_like(bank)))
    analysis = Analysis.of(*fits)
    assert analysis.summary.orientation == ()
    assert "orientation" not in [one["id"] for one in ParsedPage(render_analysis(analysis)).of("section")]


def test_kernels_without_an_angle_and_dead_filters_are_left_out():
    kernels = turned_bank(30, count=6).layers[0].kernels.clone()
    kernels[0] = 0
    row = torch.randn(6, 1, 7, generator=torch.Generator().manual_seed(0))
    bank = FilterBank((LayerFilters("a", kernels), LayerFilters("row", row, depth=1)), model="both")
    fits = fits_of(bank)
    analysis = Analysis.of(*fits)
    (found,) = analysis.summary.orientation
    assert (found.size, found.real.filters, found.real.gaining) == ("7x7", 5, 5)
    text = ParsedPage(render_analysis(analysis)).text
    assert "a side of one or two taps, show no angle and are left out" in text


def test_all_names_of_the_idealized_families_are_one_fit(turned):
    spec = turned[0].spec
    listed = replace(spec, model="listed", families=tuple(reversed(spec.families)))
    gains = gains_of([replace(one, spec=listed) for one in turned])
    np.testing.assert_array_equal(gains.real.gain, gains_of(turned).real.gain)
