"""The page on keys in a browser, from a file, with no network."""

from contextlib import ExitStack

import pytest
from key_cases import source

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(opened, tmp_path):
    """Return a function that opens the page of a case."""

    def visit(name, **options):
        path = tmp_path / f"{name}.html"
        path.write_text(source(name), encoding="utf-8")
        return pages.enter_context(opened(path, **options))

    with ExitStack() as pages:
        yield visit


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
