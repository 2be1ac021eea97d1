"""The page on keys as a document: complete, safe against names, and in agreement with the clustering."""

import re
from math import inf

import pytest
import torch
from analysis_cases import HOSTILE
from key_cases import CASES, found, source, view
from parsed_page import ParsedPage, plain

import scalekeys as sk
from scalekeys.errors import OutputError
from scalekeys.report.keys import render_keys_report, write_keys_report
from scalekeys.report.keys.elimination import EliminationPoint, EliminationSummary, elimination_curve
from scalekeys.report.keys.sections import STEPS, UNCOVERED
from scalekeys.report.page.words import SIGMA, count, number, percent, size_name

SECTIONS = ["keys", "members", "depth", "coverage", "choice", "uncovered", "layers", "method"]


@pytest.mark.parametrize("name", CASES)
def test_every_case_gives_a_page_with_its_sections(name):
    page = ParsedPage(source(name))
    assert [attributes["id"] for attributes in page.of("section")] == SECTIONS
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = {attributes["href"][1:] for attributes in page.of("a") if attributes["href"].startswith("#")}
    assert links <= set(identifiers)
    labelled = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labelled <= set(identifiers)
    assert all(attributes.get("aria-label") for tag, attributes in page.elements if attributes.get("role") == "img")


@pytest.mark.parametrize("name", CASES)
def test_the_page_loads_nothing(name):
    page = ParsedPage(source(name))
    assert page.loaded == []
    assert page.links == ["https://arxiv.org/abs/2509.12746"]


def test_the_same_filters_give_the_same_bytes():
    keys, choice = CASES["network"]()
    assert render_keys_report(keys, choice=choice) == source("network")


def test_names_cannot_break_out():
    page = ParsedPage(source("hostile"))
    assert "<script>alert" not in source("hostile")
    assert len(page.of("script")) == len(ParsedPage(source("network")).of("script"))
    assert page.text.count(HOSTILE) >= 3  # the heading, the note, the table of layers
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', source("hostile"), flags=re.DOTALL):
        assert "<" not in block
    texts = [trace["hovertext"][0] for trace in page.figures["key-mix"]["data"]]
    assert all("&lt;" in text and "<script" not in text for text in texts)
    assert all(
        HOSTILE in attributes["title"] or "xxx" in attributes["title"]
        for attributes in page.of("li")
        if "title" in attributes
    )


def test_the_numbers_are_those_of_the_clustering():
    keys, choice = found("network")
    text = ParsedPage(source("network")).text
    lead = (
        f"136 filters in 3 layers. Eight keys explain {percent(keys.explained)} of their energy, each "
        f"counted alike; as many explain {percent(keys.matched_noise)} of matched noise, and "
        f"{percent(keys.white_noise)} of white noise. "
        f"{percent(keys.coverage(0.8))} of the filters correlate with their key by 0.80 or more. "
        "All eight published master keys are among them"
    )
    assert plain(lead) in text
    fit, matches, members = keys.fit(), keys.match_published(), keys.counts.tolist()
    for key in range(8):
        sigma = ", ".join(number(float(value)) for value in fit.sigma[key])
        correlation = number(float(matches.correlation[key]))
        card = (
            f"members {members[key]}, {percent(members[key] / 136)} median correlation .{{4}} "
            rf"{SIGMA}x, {SIGMA}y of the model {re.escape(sigma)} "
            rf"r² of the model {number(float(fit.r2[key]), 3)} .{{0,12}}"
            rf"published match {matches.published[key]} \({re.escape(matches.family[key])}\), {correlation}"
        )
        assert re.search(plain(card), text), card
    for row in keys.coverage_by_layer(0.8).itertuples():
        assert re.search(
            plain(rf"{row.layer} {size_name('7x7')} {row.filters} key \d [\d.]+ % {percent(row.coverage)}"), text
        )
    assert choice.best == 8
    assert "Recommended: 8 keys" in text
    assert choice.reason in text


def test_what_is_special_is_told():
    text = ParsedPage(source("network")).text
    assert "Note read params_ema of sigma/net.pth" in text
    assert "1 filter left out" in text
    assert "No symmetry but the sign" in text
    assert "Several kernel sizes" not in text
    text = ParsedPage(source("several")).text
    seven, three, five = map(size_name, ("7x7", "3x3", "5x5"))
    assert f"Kernels of {seven}, {three} and {five} are compared in one window of {seven}" in text
    assert "of 3 networks" in text
    assert "The number of keys was given, and not compared with others." in text
    text = ParsedPage(source("turned")).text
    assert "Up to turns and mirrors" in text
    assert "weighted by their energy" in text


def test_keys_that_other_halves_do_not_have_are_warned_of():
    noise = torch.randn(200, 7, 7, generator=torch.Generator().manual_seed(0))
    keys, choice = sk.cluster(noise, 4, restarts=2), sk.choose_k(noise, (1, 4), restarts=2)
    text = ParsedPage(render_keys_report(keys, choice=choice)).text
    assert "Not all keys are certain With 4 keys, one of them is another in either half of the filters" in text
    assert "would all be found again" not in text  # there is no number of keys in noise
    assert "None of the eight published master keys is among them by a correlation of 0.9" in text


def test_keys_that_are_noise_have_no_models():
    text = ParsedPage(source("even")).text
    assert "No key has such a model." in text
    assert "no model" in text


@pytest.mark.parametrize("name", ["network", "turned", "several"])
def test_a_member_is_drawn_as_it_is_compared(name):
    keys, _ = found(name)
    drawn = view(name)
    for index in range(0, len(keys.assignment), 7):
        if keys.assignment[index] >= 0:
            key = keys.filters[keys.assignment[index]].numpy()
            assert (drawn.aligned(index) * key).sum() == pytest.approx(abs(float(keys.correlation[index])), abs=1e-6)


def test_members_run_from_best_to_worst():
    keys, _ = found("network")
    rows = re.findall(r'<ol aria-labelledby="members-\d+">(.*?)</ol>', source("network"), flags=re.DOTALL)
    assert len(rows) == 8
    for key, row in enumerate(rows):
        correlations = [float(text) for text in re.findall(r"<span>(\d\.\d\d)", row)]
        assert len(correlations) == STEPS
        assert correlations == sorted(correlations, reverse=True)
        mine = keys.correlation[keys.members(key)].abs()
        assert correlations[0] == pytest.approx(float(mine.max()), abs=0.006)
        assert correlations[-1] == pytest.approx(float(mine.min()), abs=0.006)
        assert [row.count(f"<b>{rank}</b>") for rank in ("best", "median", "worst")] == [1, 1, 1]


def test_the_uncovered_are_shown_the_farthest_first():
    keys, _ = found("deep")
    text = source("deep")
    part = text[text.index('<section id="uncovered"') : text.index('<section id="layers"')]
    shown = [float(value) for value in re.findall(r"<b>(\d\.\d\d)</b>", part)]
    assert len(shown) == UNCOVERED
    assert shown == sorted(shown)
    assert plain(f"{count(len(keys.uncovered()))} filters") in plain(part)


def test_the_file_holds_the_page_and_is_not_overwritten(tmp_path):
    keys, choice = found("network")
    path = tmp_path / "report.html"
    summary = write_keys_report(keys, path, choice=choice)
    assert path.read_text(encoding="utf-8") == source("network")
    assert sum(key.members for key in summary.keys) == summary.clustered == 136
    with pytest.raises(OutputError, match="exists"):
        write_keys_report(keys, path)
    write_keys_report(keys, path, threshold=0.9, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def _elimination(measured, value, as_good=1):
    sources = ("eliminated", "random", "white noise", "matched noise")
    points = [
        EliminationPoint(source, size, value, value / 2, inf if measured == "outputs" else 1.0, 3, as_good, None)
        for size in (16, 8)
        for source in sources
        if (source, size) != ("random", 16)
    ]
    figures = (
        "responses",
        measured,
        16,
        0,
        50,
        0.75,
        0.6,
        0.9,
        tuple(points),
        ("weights are read from the entry 'state_dict'",),
    )
    return EliminationSummary(HOSTILE, "val/", *figures)


def test_an_elimination_has_a_section_with_its_curve_and_controls():
    keys, _ = found("network")
    page = ParsedPage(render_keys_report(keys, elimination=_elimination("accuracy", 0.625)))
    sections = [attributes["id"] for attributes in page.of("section")]
    assert sections == [*SECTIONS[:5], "elimination", *SECTIONS[5:]]
    text = page.text
    assert "has a top-1 accuracy of 62.5 % (95 % from 31.2 % to 100.0 %), and with its own filters 75.0 %" in text
    assert "with as many random candidates 62.5 % in the mean of 3 draws, one of which is as good" in text
    assert "measured on 50 other images" in text
    assert "eights are read from the entry 'state_dict'." in text


def test_an_error_without_an_upper_end_is_drawn_and_written():
    keys, choice = found("network")
    elimination = _elimination("outputs", 0.5, as_good=0)
    source = render_keys_report(keys, choice=choice, elimination=elimination)
    assert "none of which is as good" in source
    assert "an error of the outputs of 0.500 (95 % from 0.250 to ∞)" in ParsedPage(source).text
    figure = elimination_curve(elimination)
    assert {value for trace in figure.data for value in trace["error_y"]["array"]} == {None}
    assert "Infinity" not in figure.json
    assert "<script>alert" not in source
