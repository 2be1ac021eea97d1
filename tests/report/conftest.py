"""A browser, pages in it that must not complain, and the names of the banks that stand for what a report meets."""

import re
import shutil
from contextlib import contextmanager

import pytest
from analysis_cases import BANK_NAMES

_CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """Return a running Chromium, or skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium, which is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def opened(browser):
    """Return a function that opens a page, and fails at its end if it complained or asked for anything outside."""

    @contextmanager
    def opened(path, *, width=1280, height=800, scheme="light", ready="html[data-drawn]"):
        page, complaints = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme), []
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda r: None if re.match("file:|data:|blob:", r.url) else complaints.append(r.url))
        try:
            page.goto(path.as_uri())
            page.wait_for_selector(ready, timeout=20_000)
            yield page
        finally:
            page.close()
        assert complaints == []

    return opened


@pytest.fixture(params=BANK_NAMES)
def bank_name(request):
    return request.param
