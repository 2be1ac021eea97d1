"""Take a picture of sections of a page: ``python docs/figures/pages.py report.html '#families' '#depth' picture.png``.

The picture goes from the top of the first element to the bottom of the last one; both are named by CSS selectors.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, MARGIN = 1240, 16


def main(page: Path, first: str, last: str, output: Path) -> None:
    """Open the page in Chromium, and cut the picture out."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        tab.goto(page.resolve().as_uri(), wait_until="networkidle")
        places = [tab.locator(selector).first.bounding_box() for selector in (first, last)]
        top, end = (place for place in places if place is not None)
        clip = {"x": 0, "y": top["y"] - MARGIN, "width": WIDTH, "height": end["y"] + end["height"] - top["y"]}
        tab.screenshot(path=output, clip={**clip, "height": clip["height"] + 2 * MARGIN}, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
