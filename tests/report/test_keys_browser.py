"""The page on keys in a browser, from a file, with no network."""

import re

import pytest
from key_cases import source

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page, and fail at the end if it complained or asked for anything outside its file."""
    pages, complaints = [], []

    def visit(name, *, width=1280, scheme="light"):
        path = tmp_path / f"{name}.html"
        path.write_text(source(name), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda r: None if re.match("file:|data:|blob:", r.url) else complaints.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", timeout=20_000)
        return page

    yield visit
    for page in pages:
        page.close()
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *(("network", width, scheme) for width in (1280, 390) for scheme in ("light", "dark")),
        ("several", 768, "light"),
        ("several", 390, "dark"),
        ("deep", 390, "light"),
        ("hostile", 390, "dark"),
        ("one", 390, "light"),
    ],
)
def test_the_page_fits_its_window(visit, name, width, scheme):
    page = visit(name, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('.canvas')].every(c => c.scrollWidth <= c.clientWidth + 1)")
    assert page.evaluate(
        "[...document.querySelectorAll('.sample, .trio > div')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    )


def test_every_figure_is_drawn_and_follows_the_scheme(visit):
    page = visit("network")
    for name in ("key-mix", "coverage", "correlations", "number-of-keys"):
        assert page.locator(f"#figure-{name} .chart").count() == 1
    page.emulate_media(color_scheme="dark")
    colour = "getComputedStyle(document.querySelector('#figure-number-of-keys .note')).fill"
    assert page.evaluate(colour) == "rgb(231, 229, 223)"


def test_the_legend_of_keys_hides_and_the_table_sorts(visit):
    page = visit("several")
    buttons = page.locator('.legend[data-for="key-mix"] button')
    assert buttons.count() == 14
    buttons.first.click()
    assert buttons.first.get_attribute("aria-pressed") == "false"
    head = page.locator("table.sortable th", has_text="filters").first
    head.locator("button").click()
    column = "[...document.querySelectorAll('table.sortable tbody tr')].map(r => Number(r.cells[4].textContent))"
    assert page.evaluate(column) == [6, 12, 16, 16, 40, 40, 80, 80]
