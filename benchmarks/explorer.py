"""Size of a page of ``scalekeys analyze``, and how its explorer scrolls 10,000 kernels.

    python benchmarks/explorer.py

The page is opened in Chromium, drawn without a graphics processor; the sheet is scrolled by a third of its height a
frame, so that every frame shows rows that were never drawn. For each frame the time between frames and the processor
time of the drawing are taken, beside the same of an empty page that asks for frames alone. Results are printed and
saved as JSON beside this file.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from playwright.sync_api import Page, sync_playwright

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import Fit, StackFit
from scalekeys.report.explorer import explorer_section
from scalekeys.report.page import render_page

RESULTS = Path(__file__).parent / "results" / "explorer.json"
FILTERS, OWN, FRAMES = 10_000, 200, 200
_SCROLL = """async ([frames, moves]) => {
    const sheet = document.querySelector("[data-role=sheet]");
    const draws = [], gaps = [];
    const {requestAnimationFrame: ask} = window;
    window.requestAnimationFrame = (call) => ask((time) => {
        const start = performance.now();
        call(time);
        draws.push(performance.now() - start);
    });
    let before = await new Promise((done) => ask(done));
    for (let k = 0; k < frames; k++) {
        if (moves) sheet.scrollTop += sheet.clientHeight / 3;
        if (moves && sheet.scrollTop + sheet.clientHeight >= sheet.scrollHeight - 1) sheet.scrollTop = 0;
        const now = await new Promise((done) => ask(done));
        gaps.push(now - before);
        before = now;
    }
    return {draws, gaps};
}"""


def many(filters: torch.Tensor) -> Fit:
    """A bank of many filters in ten layers, and its fit: a few fitted ones, over and over."""
    few = sk.fit(filters)
    places = torch.arange(FILTERS) % len(filters)
    layers = (LayerFilters(f"layer.{i}", f, depth=i) for i, f in enumerate(filters[places].split(FILTERS // 10)))
    values = StackFit(*(getattr(few.values, field.name)[places] for field in fields(StackFit)))
    return Fit(FilterBank(tuple(layers), model="many"), few.spec, values)


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest of some times, and the share that fits into a frame of 60 a second."""
    ordered = sorted(values)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
        "largest_ms": round(ordered[-1], 2),
        "in_a_frame": round(sum(value < 17 for value in ordered) / len(ordered), 3),
    }


def scrolled(page: Page) -> dict[str, Any]:
    """Times of frames, with and without scrolling."""
    still = page.evaluate(_SCROLL, [FRAMES, False])
    moving = page.evaluate(_SCROLL, [FRAMES, True])
    return {
        "between_frames_at_rest": spread(still["gaps"]),
        "between_frames_scrolling": spread(moving["gaps"]),
        "drawing": spread(moving["draws"]),
    }


def main() -> None:
    sizes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for side in (3, 7):
            fit = many(torch.randn(OWN, side, side, generator=torch.Generator().manual_seed(0)))
            path = Path(folder) / f"{side}.html"
            path.write_text(render_page("explorer", Markup(), [explorer_section(fit)]), encoding="utf-8")
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("[data-ready]")
            letters = len(explorer_section(fit).body) / (FILTERS * side**2)
            sizes[f"{side}x{side}"] = {"page_kib": round(path.stat().st_size / 1024), "bytes_a_tap": round(letters, 2)}
            sizes[f"{side}x{side}"] |= scrolled(page)
            page.close()
        browser.close()
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no graphics processor",
        "filters": FILTERS,
        "kernels": sizes,
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
