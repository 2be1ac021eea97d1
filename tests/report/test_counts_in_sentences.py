"""Sentences of the pages agree with the number of things that they tell of, also where it is one."""

from types import SimpleNamespace

import pytest
from parsed_page import ParsedPage

from scalekeys.fitting import Standing
from scalekeys.report.page import render


def text_of(template, **context):
    return ParsedPage(str(render(template, **context))).text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(("number", "words"), [(1, "1 filter does not count:"), (2, "2 filters do not count:")])
def test_filters_that_do_not_count_for_formation(number, words):
    group = SimpleNamespace(white=Standing(0.7, 0.6, 0.8), matched=None, filters=9, counted=9 - number)
    figure = SimpleNamespace(name="formation", legend=False, layout={"height": 1}, label="", json="")
    assert words in text_of(
        "analysis/formation.html.j2", group=group, counts={"formed": 1}, noise=[], most=6, figure=figure
    )


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "1 filter ended at the largest scale that was searched. It looks flat"),
        (2, "2 filters ended at the largest scale that was searched, hence the straight rows of marks. These filters"),
    ],
)
def test_filters_at_the_largest_scale(number, words):
    others = dict.fromkeys(("sharpen", "zero", "infinite", "blind", "several"), 0)
    assert words in text_of("analysis/scales.html.j2", plots=[], middles=[], close=0.2, bound=number, **others)


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 source could not be read, and counts"), (2, "2 sources could not be read, and count ")]
)
def test_sources_of_an_atlas(number, words):
    text = text_of("atlas/cautions.html.j2", quantile=0.95, counts=SimpleNamespace(failures=number, duplicates=number))
    assert words in text
    assert "under another name; each network counts once." in text


@pytest.mark.parametrize(
    ("counts", "noise", "sentence"),
    [
        ({"like noise": 2}, ["a", "b"], "Both layers in which filters count are like noise."),
        ({"formed": 3}, [], "All 3 layers in which filters count are formed."),
        (
            {"like noise": 1, "formed": 1},
            ["a"],
            "Of the 2 layers in which filters count, one is like noise and one is formed. Like noise: “a”.",
        ),
    ],
)
def test_layers_by_how_far_they_have_formed(counts, noise, sentence):
    group = SimpleNamespace(white=Standing(0.7, 0.6, 0.8), matched=None, filters=9, counted=9)
    figure = SimpleNamespace(name="formation", legend=False, layout={"height": 1}, label="", json="")
    text = text_of("analysis/formation.html.j2", group=group, counts=counts, noise=noise, most=6, figure=figure)
    assert sentence in text
    assert text.count("ike noise:") == ("Of the" in sentence)
