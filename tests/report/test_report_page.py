"""The page as a document: complete, the same every time, safe against names, and in agreement with the summary."""

import re
from dataclasses import asdict

import pytest
import torch
from analysis_cases import HOSTILE, SECTIONS, analysis_of, fits_of, fitted, page_of, rendered
from parsed_page import ParsedPage, plain

from scalekeys.checkup.api import examined
from scalekeys.checkup.evidence import Evidence
from scalekeys.checkup.naming import Named
from scalekeys.errors import OutputError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.report import render_report, summarize, write_report
from scalekeys.report.analysis.api import render_analysis
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.words import count, number, percent, points, size_name
from scalekeys.scalespace import template


def test_every_kind_of_bank_gives_a_page_with_its_sections(bank_name):
    page = page_of(bank_name)
    sections = [attributes["id"] for attributes in page.of("section")]
    turned = [] if bank_name == "rows" else ["orientation"]
    everything = SECTIONS[:8] + turned + SECTIONS[8:]
    assert sections == (["advice", "layers", "method"] if bank_name == "nothing" else everything)
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = {attributes["href"][1:] for attributes in page.of("a") if attributes["href"].startswith("#")}
    assert links <= set(identifiers)


def test_the_page_loads_nothing(bank_name):
    page = page_of(bank_name)
    assert page.loaded == []
    source = rendered(bank_name)
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert page.links == ["https://arxiv.org/abs/2509.12746"]


def test_the_same_fits_give_the_same_bytes():
    bank = fitted("network")[0].bank
    assert rendered("network") == render_report(*fits_of(bank))


def test_names_cannot_break_out():
    source = rendered("hostile")
    assert "<script>alert" not in source
    page = page_of("hostile")
    assert len(page.of("script")) == len(page_of("network").of("script"))
    assert page.text.count(HOSTILE) >= 3  # the heading, the note, the table of layers
    hover = page.figures["scales"]["data"][0]["hovertext"][0]
    assert "&lt;" in hover
    assert "<script" not in hover


def test_the_figures_stand_in_scripts_that_close_where_they_should(bank_name):
    source = rendered(bank_name)
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', source, flags=re.DOTALL):
        assert "<" not in block
    assert page_of(bank_name).figures.keys() <= {
        "ladder",
        "family-mix",
        "formation-profile",
        "depth-profile",
        "scales",
        "scales-one-axis",
        "r2",
        "angles",
    }


def test_the_page_says_which_layers_have_formed():
    summary = analysis_of("network").summary
    text = page_of("network").text
    network = summary.formation.white
    assert f"formation {number(network.value)} {network.word}" in text
    assert [layer.formation.white.word for layer in summary.layers] == ["formed", "formed", "formed", "like noise"]
    assert (
        "Of the 4 layers in which filters count, one is like noise and three are formed. Like noise: “net.blocks.3.dw”."
        in text
    )
    assert f"formed; beside matched noise {number(summary.formation.matched.value)}" in text
    assert "4 filters do not count: dead, constant or of too few taps." in text
    alone = page_of("keys")
    assert "formation-profile" not in alone.figures
    assert "layers in which filters count" not in alone.text
    assert "No filter counts" not in text


def test_the_page_says_what_to_do():
    fit, _, matched = fitted("network")
    checkup = examined(Evidence(Named(), fit, known=matched))
    text = page_of("network").text
    assert checkup.advice[0].name == "dead-filters"
    assert f"{plain(checkup.verdict)} 10 audits looked for what may be wrong with the kernels." in text
    for one in checkup.advice:
        for sentence in (one.what, one.evidence, one.action, one.expect, one.command or "", one.figure):
            assert plain(sentence).replace("  ", " ") in text
    told = text.count("that the finding concerns") + text.count("which the finding concerns as a whole")
    assert told == len(checkup.advice)
    assert text.index("What to do") < text.index("By kernel size")


def test_a_card_shows_the_kernels_that_its_finding_concerns():
    fit, _, matched = fitted("network")
    concerned = examined(Evidence(Named(), fit, known=matched)).advice[0].places[0].channels
    labels = [attributes["aria-label"].partition(",")[0] for attributes in page_of("network").of("svg")]
    assert labels[: len(concerned[:12])] == [f"channel {channel}" for channel in concerned[:12]]
    assert concerned != tuple(range(len(concerned)))


def test_the_page_says_that_nothing_is_wrong():
    kernels = FilterBank((LayerFilters("dw", torch.stack([template("smooth", torch.tensor([0.9, 1.0]), 5)] * 2)),))
    told = "Nothing to do: none of the 10 audits has found anything."
    assert told in ParsedPage(render_report(*fits_of(kernels))).text


def test_kernels_of_three_taps_are_not_called_formed():
    rows = FilterBank((LayerFilters("row", torch.randn(9, 1, 3, generator=torch.Generator().manual_seed(0))),))
    analysis = Analysis.of(*fits_of(rows))
    page = ParsedPage(render_analysis(analysis))
    assert "No filter counts: all are dead or constant, or their kernels are too small" in page.text
    assert analysis.summary.formation.white is None


def test_the_numbers_are_those_of_the_summary():
    summary = analysis_of("network").summary
    page = page_of("network")
    quality = summary.quality
    assert (
        f"{quality.filters} filters in 4 layers. Eight idealized receptive fields explain "
        f"{plain(percent(quality.share_explained))} of their energy; of matched noise "
        f"{plain(percent(quality.matched_share_explained))}, and of white noise "
        f"{plain(percent(quality.white_share_explained))}. "
        f"{plain(percent(1 - quality.share_explained))} is not explained." in page.text
    )
    noise = f"matched noise {number(quality.matched_median_r2)}, white {number(quality.white_median_r2)}"
    assert f"median r² {number(quality.median_r2)} {noise}" in page.text
    for size in summary.sizes:
        numbers = (
            f"{size_name(size.size)} {size.quality.filters} {number(size.quality.median_r2)} "
            f"{number(size.quality.matched_median_r2)} {number(size.quality.white_median_r2)} "
            f"{percent(size.quality.share_explained)} {percent(size.quality.matched_share_explained)} "
            f"{percent(size.quality.white_share_explained)}"
        )
        assert plain(numbers) in page.text
    for family in summary.families:
        noise = f"{percent(family.matched_share)} in white noise {percent(family.white_share)}"
        card = f"filters {family.filters} share {percent(family.share)} in matched noise {noise}"
        assert plain(card) in page.text
    for layer in summary.layers:
        share = percent(layer.families[layer.main_family] / layer.quality.fitted)
        row = f"{layer.name} {size_name(layer.size)} {layer.stride} {layer.dilation} {layer.quality.filters}"
        assert plain(f"{row} {layer.main_family} {share}") in page.text


def test_notes_and_statuses_are_told_in_words():
    text = page_of("network").text
    assert "Note read params_ema of sigma/net.pth" in text
    assert "1 filter zero-filter" in text
    assert "1 filter constant-filter" in text
    assert "1 filter non-finite" in text
    assert "1 filter negligible" in text
    assert f"24 filters of {size_name('3x3')}" in text


def test_what_cannot_be_fitted_is_said_plainly():
    page = page_of("nothing")
    assert "Nothing could be fitted" in page.text
    assert not page.figures
    assert len(rendered("nothing")) < 100_000  # no plotting library without figures


def test_the_page_says_what_explains_the_rest_and_whether_noise_gains_as_much():
    found = analysis_of("network").summary.ladder
    text = page_of("network").text
    assert "explains more of anything, noise included" in text
    words = {"more": "more than", "no more": "no more than", "less": "less than"}
    for verb, step in zip(("explains", "adds", "adds", "adds"), found.network.steps, strict=True):
        gain, noise = (plain(percent(share)) for share in (step.gain.filters, step.gain.matched))
        assert f"{step.model} {verb} {gain}: {words[step.beyond_matched.word]} matched noise" in text
        assert f", {noise}; the difference is {points(step.beyond_matched.value)}" in text
    assert f"Sample: {found.network.sampled} of {found.network.filters} filters with a fit" in text
    assert page_of("network").figures["ladder"]["data"][0]["name"] == "ideal"


@pytest.mark.parametrize("bank", ["network", "deep", "one"])
def test_the_page_counts_the_intervals_that_it_shows(bank):
    found = analysis_of(bank).summary.ladder
    shown = [found.network, *(found.sizes if len(found.sizes) > 1 else ())]
    both = [one for group in shown for step in group.steps for one in (step.beyond_matched, step.rest_beyond_matched)]
    own = [step.beyond_matched for group in found.layers for step in group.steps]
    counts = [sum(one.low is not None for one in differences) for differences in (both, own)]
    captions = re.findall(r"(\d+) intervals are shown", page_of(bank).text)
    assert [int(one) for one in captions] == [one for one in counts if one]


@pytest.mark.parametrize(
    ("families", "sentence"),
    [
        (("dx", "dx"), "In all two layers, dx is the most frequent family."),
        (("dx", "dx", "dy"), "In two of three layers, dx is the most frequent family; dy in one."),
    ],
)
def test_the_family_that_leads_over_depth_is_named(families, sentence):
    layers = [
        LayerFilters(f"dw{i}", template(name, torch.ones(2), 7)[None], depth=i) for i, name in enumerate(families)
    ]
    bank = FilterBank(tuple(layers), model="leading")
    assert sentence in ParsedPage(render_report(*fits_of(bank))).text


def test_bounds_are_told_apart():
    fit, *_ = fitted("many")
    text = page_of("many").text
    told = [int(n.replace(" ", "")) for n in re.findall(r"([\d ]*\d) filters? at-bound in (?:scale|strength)", text)]
    assert told
    assert sum(told) == (fit.status == "at-bound").sum()


def test_the_page_of_ten_thousand_filters_stays_small():
    assert plain(f"{count(10_000)} filters") in page_of("many").text
    assert len(rendered("many")) < 4_000_000


def test_the_file_holds_the_page_and_is_not_overwritten(tmp_path):
    path = tmp_path / "report.html"
    summary = write_report(*fitted("keys"), path)
    assert summary == summarize(*fitted("keys"))
    assert path.read_text(encoding="utf-8") == rendered("keys")
    with pytest.raises(OutputError, match="exists"):
        write_report(*fitted("keys"), path)
    write_report(*fitted("keys"), path, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_dead_filters_are_counted_and_located():
    fit, *_ = fitted("network")
    summary = analysis_of("network").summary
    assert summary.dead == fit.dead.sum() == 2
    assert [layer.dead for layer in summary.layers] == [0, 0, 2, 0]
    text = page_of("network").text
    assert "All shares and medians leave out 4 filters without a fit, 2 of them dead." in text
    where = "in 1 of 4 layers: net.blocks.2.dw (2 of 24)."
    assert plain(f"Zero or negligible: 2 filters ({percent(2 / 104)}), {where}") in text


def test_dead_filters_change_no_figure_of_the_others():
    generator = torch.Generator().manual_seed(0)
    alive = torch.randn(12, 5, 5, generator=generator)
    dead = torch.randn(12, 5, 5, generator=generator) * 1e-41
    banks = [
        FilterBank((LayerFilters("a", alive), *others))
        for others in ((), (LayerFilters("b", torch.cat([dead[:9], alive[:3]]), depth=1), LayerFilters("c", dead)))
    ]
    analyses = [Analysis.of(*fits_of(bank)) for bank in banks]
    without, beside = (analysis.summary for analysis in analyses)
    assert beside.dead == 21
    assert asdict(beside.layers[0].quality) == pytest.approx(asdict(without.layers[0].quality), rel=1e-9)
    assert (beside.layers[2].quality.fitted, beside.layers[2].quality.median_r2) == (0, None)
    assert beside.quality.fitted == 15
    text = ParsedPage(render_analysis(analyses[1])).text
    assert "in 2 of 3 layers: c (12 of 12) and b (9 of 12). Dead throughout: 1 layer." in text


def test_one_filter_that_holds_the_energy_is_pointed_out():
    filters = torch.randn(30, 5, 5, generator=torch.Generator().manual_seed(0))
    filters[3] *= 1e3
    text = ParsedPage(render_report(*fits_of(FilterBank.from_tensor(filters)))).text
    assert plain("One filter holds 100.0 % of the energy") in text
