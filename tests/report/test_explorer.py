"""The explorer: what goes into the page, and what a reader sees and copies from it."""

import base64
import json
import math
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.errors import MissingExtraError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import Fit, StackFit
from scalekeys.report.explorer import explorer_section, payload, widget
from scalekeys.report.explorer.section import remark
from scalekeys.report.page import render_page
from scalekeys.scalespace import template


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def bank():
    broken = noise(6, 5, 5, seed=3)
    broken[0], broken[1, 0, 0] = 0, torch.nan
    wide = template("smooth", torch.tensor([[math.inf, 0.7], [math.inf, math.inf]]), (7, 7)).float()
    layers = (
        LayerFilters("net.</script>.wide", torch.cat([wide, sk.master_keys().float()]), depth=0),
        LayerFilters("broken", broken, depth=1),
        LayerFilters("causal", noise(5, 4, seed=1), depth=2),
        LayerFilters("volume", noise(5, 3, 3, 3, seed=2), depth=3),
    )
    return FilterBank(layers, model="</script><script>alert(1)</script>")


@pytest.fixture(scope="module")
def fit(bank):
    return sk.fit(bank)


@pytest.fixture(scope="module")
def page(opened, fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(page_of(fit), encoding="utf-8")
    with opened(path, width=1100, height=900, ready="[data-explorer][data-ready]") as page:
        yield page


def page_of(fit):
    return render_page("explorer", "", [explorer_section(fit)])


def show(page, fragment):
    page.evaluate(
        """(hash) => new Promise((done) => {
            addEventListener("hashchange", () => setTimeout(done), {once: true});
            if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange"));
            else location.hash = hash;
        })""",
        f"#explorer?{fragment}",
    )


def told(page, name):
    return page.locator(f".figures div:has(dt:text-is('{name}')) dd").inner_text().replace("\N{MINUS SIGN}", "-")


def kernel_of(line):
    """The kernel that the line of Python on the page makes."""
    return eval(line, {"sk": sk, "torch": torch})


def test_the_bytes_of_the_page_give_the_kernels_back(fit, bank):
    for packed, layer in zip(payload.payload_of(fit).data["layers"], bank.layers, strict=True):
        shape, kind = layer.kernels.shape, np.dtype(f"<i{packed['bits'] // 8}")
        raw, full = base64.b64decode(packed["bytes"]), np.iinfo(kind).max
        steps = np.frombuffer(raw, kind, layer.kernels.numel()).astype(float).reshape(len(layer), -1)
        unit = 2.0 ** np.frombuffer(raw, np.int8, len(layer), offset=layer.kernels.numel() * kind.itemsize) / full
        expected, kernels = layer.kernels.numpy(), (steps * unit[:, None]).reshape(shape)
        known = np.isfinite(expected)
        assert (steps.reshape(shape)[~known] == -full - 1).all()
        bound = np.broadcast_to(unit.reshape(-1, *(1,) * layer.axes) * 0.51, shape)
        assert (np.abs(kernels - expected)[known] <= bound[known]).all()


@pytest.mark.parametrize("size", [(4,), (3, 3), (7, 7), (3, 3, 3)])
def test_a_tap_takes_at_most_four_bytes(size):
    few = sk.fit(FilterBank((LayerFilters("layer", noise(16, *size)),)))
    pages = []
    for times in (4, 40):
        places = torch.arange(16).repeat(times)
        bank = FilterBank((LayerFilters("layer", few.bank.layers[0].kernels[places]),))
        values = StackFit(*(getattr(few.values, field.name)[places] for field in fields(StackFit)))
        pages.append(len(page_of(Fit(bank, few.spec, values))))
    assert (pages[1] - pages[0]) / (16 * 36 * math.prod(size)) <= 4


def test_what_a_large_network_leaves_out_is_said(monkeypatch, fit):
    monkeypatch.setattr(payload, "MOST_FILTERS", 10)
    found = payload.payload_of(fit)
    assert (found.shown, found.left_out) == (10, len(fit) - 10)
    assert sum(layer["count"] for layer in found.data["layers"]) == 10
    assert f"{len(fit) - 10} filters of {len(fit)} are left out" in explorer_section(fit).body


def test_the_section_says_where_its_models_are_not_those_of_the_fit(fit):
    keys = sk.master_keys()[:1, 2:5, 2:5]
    assert remark(fit) == ""
    assert "discrete analogue" in remark(sk.fit(keys, discretization="integrated"))
    assert "least squares" in remark(sk.fit(keys, criterion="l1"))
    assert "one by one" in remark(sk.fit(keys, "sparse2"))


def test_the_page_is_a_function_of_the_fit(bank, fit):
    assert page_of(sk.fit(bank)) == page_of(fit)


@pytest.mark.browser
def test_a_filter_shows_its_fit_and_the_line_that_makes_it(page, fit, bank):
    models = [model for layer in fit.kernels() for model in layer.kernels]
    for layer, channel, index in [(0, 0, 0), (0, 2, 2), (0, 8, 8), (0, 9, 9), (1, 3, 13), (2, 1, 17), (3, 2, 23)]:
        show(page, f"layer={layer}&channel={channel}")
        precision = 3e-4 if bank.layers[layer].kernels[0].numel() > 4 else 3e-3  # 8 bits a tap
        assert float(told(page, "r²")) == pytest.approx(float(fit.r2[index]), abs=precision)
        made = kernel_of(page.locator("[data-role=line]").inner_text())
        largest = float(bank.layers[layer].kernels[channel].abs().max())
        np.testing.assert_allclose(made.numpy(), models[index].numpy(), atol=0.02 * largest)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("family", "at"),
    [("sharpen", "0.7,0.5"), ("dog", "0.6,1.1"), ("jet2", "0.6,0.8"), ("dphi", "0.9,0.7,0.5"), ("dx", "Infinity,0.5")],
)
def test_the_line_of_every_kind_of_family_makes_the_kernel_that_is_shown(page, family, at):
    show(page, f"layer=0&channel=4&family={family}&at={at}")
    made = kernel_of(page.locator("[data-role=line]").inner_text()).flatten()
    learned = sk.master_keys()[2].double().flatten()
    rest = learned - made
    expected = 1 - float(rest @ rest) / float((learned - learned.mean()).square().sum())
    assert float(told(page, "r²")) == pytest.approx(expected, abs=3e-4)


@pytest.mark.browser
def test_a_family_that_is_chosen_is_searched(page, fit):
    show(page, "layer=0&channel=4")
    for family in ("dx-", "jet1", "affine"):
        page.locator("[data-role=family]").select_option(family)
        best = sk.fit(sk.master_keys()[2], family).r2
        assert float(told(page, "r²")) == pytest.approx(float(best), abs=3e-4)
    page.locator("[data-role=fitted]").click()
    assert float(told(page, "r²")) == pytest.approx(float(fit.r2[4]), abs=3e-4)


@pytest.mark.browser
def test_sliders_links_and_filters(page):
    show(page, "layer=0&channel=6")
    slider = page.locator("[data-role=sliders] input").first
    slider.evaluate("e => { e.value = e.max; e.dispatchEvent(new Event('input')); }")
    assert page.locator("[data-role=sliders] output").first.inner_text() == "∞"
    assert "at=Infinity%2C" in page.evaluate("location.hash")
    page.locator("[data-role=status]").select_option("zero-filter")
    assert page.locator("[data-role=told]").inner_text() == "1 of 26 filters"
    page.locator("[data-role=status]").select_option("")
    page.locator(".legend button", has_text="smooth").click()
    assert not page.locator("[data-role=told]").inner_text().startswith("26")
    page.locator(".legend button", has_text="smooth").click()


@pytest.mark.browser
def test_the_keyboard_reaches_every_filter(page):
    sheet = page.locator("[data-role=sheet]")
    sheet.focus()
    sheet.press("Home")
    sheet.press("ArrowRight")
    assert "channel 1" in page.locator("[data-role=told]").inner_text()
    sheet.press("End")
    sheet.press("Enter")
    assert page.locator("[data-role=name]").inner_text().startswith("volume, channel 4")
    assert page.locator("[data-role=learned]").evaluate("e => e.getBoundingClientRect().bottom <= innerHeight")


@pytest.mark.browser
def test_the_line_is_copied_or_selected(page):
    show(page, "layer=0&channel=5")
    page.locator("[data-role=copy]").click()
    page.wait_for_function("/Copied|Selected/.test(document.querySelector('[data-role=copy]').textContent)")


@pytest.mark.browser
def test_the_sheet_is_in_the_order_that_is_asked_for(page, fit):
    sheet, order = page.locator("[data-role=sheet]"), page.locator("[data-role=order]")
    show(page, "layer=0&channel=5")
    order.select_option("r2")
    assert page.evaluate("location.hash").endswith("&order=r2")
    sheet.press("Home")
    best = int(np.nanargmax(fit.r2.numpy()))
    assert f"r² {float(fit.r2[best]):.2f}" in page.locator("[data-role=told]").inner_text()
    sheet.press("End")  # a filter without a fit comes last
    assert "r²" not in page.locator("[data-role=told]").inner_text()
    order.select_option("depth")


@pytest.mark.browser
def test_the_size_of_the_cells_leaves_the_address_alone(page):
    show(page, "layer=0&channel=5")
    written = page.evaluate(
        """() => {
            let written = 0;
            history.replaceState = () => (written += 1);
            document.querySelector("[data-role=side]").dispatchEvent(new Event("input"));
            delete history.replaceState;
            return written;
        }"""
    )
    assert written == 0


@pytest.mark.browser
def test_filters_that_are_zero_or_broken_open_too(page):
    for channel, word in ((0, "zero-filter"), (1, "non-finite")):
        show(page, f"layer=1&channel={channel}")
        assert word in page.locator("[data-role=name]").inner_text()


@pytest.mark.browser
def test_a_picture_of_the_reader_is_read(page, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(tmp_path / "own.png")
    show(page, "layer=0&channel=6")
    before = page.locator("[data-role=compared]").inner_text()
    page.locator("[data-role=file]").set_input_files(tmp_path / "own.png")
    page.wait_for_function(f"document.querySelector('[data-role=compared]').textContent !== {before!r}")


@pytest.mark.browser
def test_the_widget_shows_the_same_explorer(browser, fit):
    page = browser.new_page()
    module = base64.b64encode(widget.script().encode()).decode()
    page.add_style_tag(content=widget.stylesheet())
    page.evaluate(
        """async ([module, state]) => {
            const {default: widget} = await import(`data:text/javascript;base64,${module}`);
            widget.render({model: {get: (name) => state[name]}, el: document.body});
        }""",
        [module, widget.state(fit)],
    )
    sheet = page.locator("[data-role=sheet]")
    sheet.press("End")
    sheet.press("Enter")
    assert float(told(page, "r²")) == pytest.approx(float(fit.r2[-1]), abs=3e-4)
    assert page.evaluate("location.hash") == ""
    page.close()


def test_the_widget_holds_the_numbers_of_the_fit(fit):
    pytest.importorskip("anywidget")
    packed = json.loads(sk.explore(fit).data)["layers"][0]
    raw, count = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8), packed["count"]
    before = count * (math.prod(packed["size"]) * packed["bits"] // 8 + 2)  # kernels, exponents and families
    assert raw[before : before + count] / 255 == pytest.approx(fit.r2[:count].numpy(), abs=0.51 / 255)


def test_without_anywidget_the_extra_is_named(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtraError, match=r"scalekeys\[widget\]"):
        sk.explore(fit)
