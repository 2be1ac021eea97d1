"""The page in a browser, from a file, with no network: it draws, answers, sorts, fits, and follows the scheme."""

import base64
import re
from contextlib import ExitStack

import pytest
import torch
from analysis_cases import fitted

from scalekeys.report import write_report
from scalekeys.report.page.document import joined
from scalekeys.report.page.words import SIGMA, size_name
from scalekeys.scalespace import template

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")

    def file(name):
        path = folder / f"{name}.html"
        if not path.exists():
            write_report(*fitted(name), path)
        return path

    return file


@pytest.fixture
def visit(opened, files):
    """Return a function that opens the report of a bank."""
    with ExitStack() as pages:
        yield lambda name, **options: pages.enter_context(opened(files(name), **options))


def hover(page, figure, mark):
    """Move to a mark, and return what is said of it."""
    target = page.locator(f"#figure-{figure} {mark}")
    target.scroll_into_view_if_needed()
    target.hover(force=True)
    told = page.locator(f"#figure-{figure} .hover")
    assert told.is_visible()
    return told.inner_text()


def test_every_figure_is_drawn(visit):
    page = visit("network")
    for name in ("family-mix", "depth-profile", "scales", "r2"):
        assert page.locator(f"#figure-{name} svg.chart").count() == 1
    assert page.locator("#figure-scales .point").count() == 100  # the dead ones have no scale
    assert page.locator("#figure-family-mix .bar").count() == 7 * 4


def test_a_mark_stands_where_its_numbers_say(visit):
    places = """() => {
        const box = (e) => e.getBoundingClientRect();
        const ticks = [...document.querySelectorAll("#figure-r2 .tick")];
        const middle = ({left, width}) => left + width / 2;
        const of = (text) => middle(box(ticks.find((tick) => tick.textContent === text)));
        const bars = [...document.querySelectorAll("#figure-r2 .bar")].slice(-40).map(box);
        return {ends: [of("0"), of("1")], left: bars[0].left, right: bars[39].right, width: bars[7].width};
    }"""
    found = visit("network").evaluate(places)
    first, last = found["ends"]
    assert found["left"] == pytest.approx(first, abs=2)
    assert found["right"] == pytest.approx(last, abs=2)
    assert found["width"] == pytest.approx((last - first) / 40, abs=2)


def test_a_point_of_the_scatter_tells_layer_and_channel(visit):
    shown = hover(visit("keys"), "scales", ".point >> nth=4")
    assert "filters" in shown
    assert f"channel 4, {size_name('7x7')}, dx" in shown


def test_a_bar_tells_family_and_count(visit):
    shown = hover(visit("network"), "family-mix", ".bar >> nth=1")
    assert "net.blocks.1.dw" in shown
    assert re.search(r"smooth: \d+ of 30 filters", shown)


def test_a_name_is_shown_and_not_run(visit):
    page = visit("hostile")
    assert page.locator("h1").inner_text().startswith("<script>alert(1)</script>\"'&amp;é漢")
    shown = hover(page, "family-mix", ".bar >> nth=0")
    assert "<script>" in shown


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *(("network", width, scheme) for width in (1280, 390) for scheme in ("light", "dark")),
        ("deep", 1280, "light"),
        ("deep", 390, "dark"),
        ("hostile", 390, "light"),
        ("rows", 390, "dark"),
    ],
)
def test_the_page_fits_its_window(visit, name, width, scheme):
    page = visit(name, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('.canvas')].every(c => c.scrollWidth <= c.clientWidth + 1)")


def test_plots_follow_the_window(visit):
    page = visit("network")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.querySelector('#figure-scales .chart').clientWidth < 380")
    page.wait_for_function(
        "[...document.querySelectorAll('#figure-family-mix .tick')].some(t => t.textContent.trim() === '1')"
    )


def test_the_page_and_its_plots_follow_the_scheme(visit):
    page = visit("network")
    colours = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector("#figure-scales .note, #figure-r2 .note")).fill,
        getComputedStyle(document.querySelector(".filter .zero")).fill]"""
    light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colours)
    assert all(before != after for before, after in zip(light, dark, strict=True))
    assert light[1] == "rgb(28, 30, 34)"


def test_the_table_of_layers_sorts_both_ways(visit):
    page = visit("network")
    head = page.locator("#layers table.sortable th", has_text="filters").first
    column = "[...document.querySelectorAll('#layers table.sortable tbody tr')].map(r => r.cells[5].textContent.trim())"
    assert page.evaluate(column) == ["40", "30", "24", "10"]
    head.locator("button").click()
    assert page.evaluate(column) == ["10", "24", "30", "40"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert page.evaluate(column) == ["40", "30", "24", "10"]
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("#layers table.sortable th", has_text="layer").first.locator("button").click()
    assert page.locator("#layers table.sortable tbody tr").first.locator("th").inner_text() == "net.blocks.0.dw"
    assert head.get_attribute("aria-sort") == "none"


def test_missing_numbers_sort_last(visit):
    page = visit("rows")
    for _ in range(2):
        page.locator("#layers table.sortable th", has_text=f"{SIGMA}x").locator("button").click()
        names = page.locator("#layers table.sortable tbody th").all_inner_texts()
        assert names == ["row", "column"]


def test_the_legend_hides_and_isolates(visit):
    page = visit("network")
    legend = page.locator('.legend[data-for="scales"] button')
    everything = page.locator("#figure-scales .point").count()
    legend.first.click()
    assert legend.first.get_attribute("aria-pressed") == "false"
    page.wait_for_function(f"document.querySelectorAll('#figure-scales .point').length < {everything}")
    legend.first.dblclick()
    assert [b.get_attribute("aria-pressed") for b in legend.all()].count("true") == 1
    legend.first.dblclick()
    page.wait_for_function(f"document.querySelectorAll('#figure-scales .point').length === {everything}")


def test_a_page_without_figures_works_too(visit):
    page = visit("nothing")
    assert page.locator(".canvas").count() == 0
    page.locator("#layers table.sortable th button").first.click()
    assert page.locator("#layers table.sortable th").first.get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_an_article_fits_its_window(opened, tmp_path, width, scheme):
    from scalekeys.paper import study
    from scalekeys.report.article import write_article

    filters = template("dx+", torch.tensor([[0.6, 0.9]], dtype=torch.float64), 5)
    write_article(study(filters, source="one.npy"), tmp_path)
    with opened(tmp_path / "article.html", width=width, scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(
            "[...document.images].every(i => i.naturalWidth && i.clientWidth <= i.parentElement.clientWidth)"
        )
        card = "getComputedStyle(document.querySelector('.card')).backgroundColor"
        assert page.evaluate(card) == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"range": [79, 92], "nticks": 6}, ["80", "82.5", "85", "87.5", "90"]),
        ({"range": [0, 0.37], "nticks": 4, "tickformat": ".0%"}, ["0 %", "10 %", "20 %", "30 %"]),
        ({"range": [0, 0.09], "nticks": 4, "tickformat": ".0%"}, ["0.0 %", "2.5 %", "5.0 %", "7.5 %"]),
        ({"range": [-0.12, 0.11], "nticks": 4}, ["\N{MINUS SIGN}0.1", "0", "0.1"]),
        ({"range": [0.5, 30.5], "nticks": 12, "tickformat": "d"}, ["5", "10", "15", "20", "25", "30"]),
        ({"range": [0, 90], "tickvals": [0, 22.5], "ticksuffix": "°"}, ["0°", "22.5°"]),
    ],
)
def test_ticks_are_round_and_say_their_value(browser, spec, expected):
    page = browser.new_page()
    module = base64.b64encode(joined("page/axes.js").encode()).decode()
    run = """async ([module, spec]) => {
        const {Axis} = await import(`data:text/javascript;base64,${module}`);
        return new Axis("x", spec, [], "").ticks().map((tick) => tick.text);
    }"""
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in page.evaluate(run, [module, spec])] == expected
    page.close()
