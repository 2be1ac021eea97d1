"""The page on trainings as a document: complete, safe against names, and in agreement with the runs."""

import re

import pytest
import torch
from analysis_cases import HOSTILE
from parsed_page import ParsedPage

import scalekeys as sk
from scalekeys.errors import OutputError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.report.trainings import render_trainings_report, write_trainings_report
from scalekeys.training.comparison import compare
from scalekeys.training.recipe import Data, Depthwise, Loop, Recipe
from scalekeys.training.runs import Learned, Run

EPOCHS = 3


def bank(seed):
    noise = torch.randn(2, 8, 7, 7, generator=torch.Generator().manual_seed(seed))
    layers = [LayerFilters(f"blocks.{i}.dw", sk.master_keys() + 0.01 * n, depth=i) for i, n in enumerate(noise)]
    return FilterBank(tuple(layers), model="network")


def run(name, depthwise, *, seed=0, epochs=EPOCHS, parameters=0, accuracy=0.5, averaged=True):
    recipe = Recipe(Data("images"), depthwise=depthwise, loop=Loop(epochs=EPOCHS), seed=seed)
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "top1": accuracy - 0.01, "top5": 0.9, "seconds": 60.0}
        row |= {"r2": 0.1 * epoch, "formation": 0.2 * epoch}
        rows.append(row | ({"average_top1": accuracy, "average_top5": 0.9} if averaged else {}))
    notes = () if epochs == EPOCHS else (f"only {epochs} of {EPOCHS} epochs are done",)
    if not epochs:
        return Run(name, recipe, (), None, None, None, notes)
    return Run(name, recipe, tuple(rows), bank(seed), bank(9), Learned(parameters, parameters + 1000), notes)


@pytest.fixture(scope="module")
def comparison():
    free = Depthwise()
    return compare(
        [
            run("runs/a", free, parameters=784, accuracy=0.8),
            run("runs/b", free, parameters=784, accuracy=0.9, seed=1),
            run("runs/c", Depthwise("keys", learn="none"), accuracy=0.7),
            run("runs/d", Depthwise("ideal8", learn="scales"), parameters=28, epochs=1, accuracy=0.75),
            run(f"runs/{HOSTILE}", Depthwise("jet2", learn="scales"), epochs=0),
        ]
    )


@pytest.fixture(scope="module")
def page(comparison):
    return render_trainings_report(comparison)


def test_every_section_is_there_and_nothing_is_loaded(page):
    parsed = ParsedPage(page)
    assert [a["id"] for a in parsed.of("section")] == ["conditions", "epochs", "scales", "filters", "runs"]
    identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {a["aria-labelledby"] for _, a in parsed.elements if "aria-labelledby" in a} <= set(identifiers)
    assert parsed.loaded == parsed.links == []


def test_names_cannot_break_out(page):
    assert "<script>alert" not in page
    assert HOSTILE in ParsedPage(page).text
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL):
        assert "<" not in block


def test_the_figures_are_those_of_the_runs(page):
    parsed = ParsedPage(page)
    text = parsed.text
    assert "Highest accuracy: “free” reaches 85.0 ± 7.1 % with 784 depthwise parameters." in text
    assert "“keys, frozen” reaches 70.0 % with 0 depthwise parameters." in text
    assert "only 1 of 3 epochs are done." in text
    points = parsed.figures["accuracy-by-parameters"]["data"]
    assert [(point["name"], point["y"][0]) for point in points] == [
        ("free", 0.85),
        ("keys, frozen", 0.7),
        ("ideal8, learned scales", 0.75),
    ]
    assert [point["x"][0] for point in points] == [pytest.approx(v, abs=1e-3) for v in (2.895, 0.0, 1.462)]
    assert points[0]["error_y"]["array"][0] == pytest.approx(0.0707, abs=1e-4)
    curves = parsed.figures["accuracy-over-epochs"]["data"]
    assert [len(curve["x"]) for curve in curves] == [3, 3, 1]
    assert curves[0]["y"] == pytest.approx([0.85] * 3)
    assert [len(curve["x"]) for curve in parsed.figures["r2-over-epochs"]["data"]] == [3, 3, 1]
    formation = parsed.figures["formation-over-epochs"]["data"]
    assert formation[0]["y"] == pytest.approx([0.2, 0.4, 0.6])


def test_learned_scales_are_solid_and_fitted_ones_dashed(page):
    traces = ParsedPage(page).figures["scales"]["data"]
    assert [(t["name"], t["line"]["dash"]) for t in traces] == [("free", "dash"), ("ideal8, learned scales", "solid")]
    sigma = sk.fit(bank(0)).sigma.log().mean(-1).exp()
    assert traces[0]["y"] == pytest.approx([float(part.median()) for part in sigma.split(8)], abs=0.05)


def test_filters_are_shown_before_and_after(page):
    labels = [a["aria-label"] for a in ParsedPage(page).of("svg") if "training, channel" in a.get("aria-label", "")]
    assert sum("before training" in label for label in labels) == sum("after training" in label for label in labels)
    assert len(labels) == 3 * 2 * 2 * 8  # conditions, layers, before and after, channels


def test_runs_without_an_epoch_and_without_averages():
    empty = ParsedPage(render_trainings_report(compare([run("a", Depthwise(), epochs=0)])))
    assert "None of these trainings has finished an epoch." in empty.text
    assert not empty.figures
    plain = ParsedPage(render_trainings_report(compare([run("a", Depthwise(), averaged=False)])))
    assert plain.figures["accuracy-over-epochs"]["data"][0]["y"] == pytest.approx([0.49] * 3)


def test_the_page_is_the_same_each_time_and_a_file_is_not_replaced(comparison, page, tmp_path):
    write_trainings_report(comparison, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    with pytest.raises(OutputError, match=r"report\.html: exists already"):
        write_trainings_report(comparison, tmp_path / "report.html")
