"""Banks that stand for what a report meets, each fitted and rendered once for the whole run."""

from dataclasses import fields
from functools import lru_cache

import torch
from parsed_page import ParsedPage

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import Fit, StackFit
from scalekeys.report.analysis.api import render_analysis
from scalekeys.report.analysis.view import Analysis
from scalekeys.scalespace import template

SECTIONS = [
    "advice",
    "sizes",
    "families",
    "ladder",
    "formation",
    "depth",
    "scales",
    "distribution",
    "gallery",
    "explorer",
    "layers",
    "method",
]
HOSTILE = "<script>alert(1)</script>\"'&amp;é漢</script>"


def _noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _learned(seed, count, size):
    """Templates of every family at random scales, a little noise on each."""
    scales = 0.4 + torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    names = [("smooth", "dx", "dy", "dx+", "dx-", "dy+", "dy-")[i % 7] for i in range(count)]
    templates = torch.stack([template(name, scale, size) for name, scale in zip(names, scales, strict=True)])
    return templates + 0.02 * _noise(seed + 1, count, size, size)


def _network():
    last = _learned(4, 24, 3)
    last[0] = 0
    last[1] = 2.5
    last[2, 0, 0] = torch.nan
    last[3] *= 1e-5
    return FilterBank(
        (
            LayerFilters("net.blocks.0.dw", _learned(0, 40, 7), stride=2, dilation=1, depth=0),
            LayerFilters("net.blocks.1.dw", _learned(2, 30, 5), stride=1, dilation=1, depth=1),
            LayerFilters("net.blocks.2.dw", last, stride=1, dilation=1, depth=2),
            LayerFilters("net.blocks.3.dw", _noise(6, 10, 7, 7), stride=1, dilation=1, depth=3),
        ),
        model="a small network",
        notes=("read params_ema of sigma/net.pth",),
    )


def _nothing():
    layers = (
        LayerFilters("zero", torch.zeros(4, 3, 3)),
        LayerFilters("constant", torch.full((3, 4, 4), 2.0), depth=1),
        LayerFilters("broken", torch.full((3, 5, 5), torch.nan), depth=2),
    )
    return FilterBank(layers, model="nothing")


_BANKS = {
    "network": _network,
    "keys": lambda: FilterBank.from_tensor(sk.master_keys(), model="master keys"),
    "one": lambda: FilterBank.from_tensor(_noise(0, 1, 7, 7)),
    "nothing": _nothing,
    "rows": lambda: FilterBank(
        (LayerFilters("row", _noise(0, 9, 1, 7)), LayerFilters("column", _noise(1, 9, 7, 1), depth=1)), model="rows"
    ),
    "hostile": lambda: FilterBank(
        (LayerFilters(HOSTILE, _noise(0, 12, 5, 5)), LayerFilters("x" * 80, _noise(1, 12, 3, 3), depth=1)),
        model=HOSTILE,
        notes=(HOSTILE,),
    ),
    "deep": lambda: FilterBank(
        tuple(
            LayerFilters(f"backbone.encoder.stages.{i // 25}.blocks.{i % 25}.depthwise_convolution", f, depth=i)
            for i, f in enumerate(_noise(0, 100, 3, 5, 5))
        ),
        model="deep",
    ),
}
BANK_NAMES = (*_BANKS, "many")


def _many():
    """Ten thousand filters in ten layers: two hundred fitted ones, over and over."""
    places = torch.arange(10_000) % 200
    fits = []
    for seed in (0, 1, 2):
        filters = _noise(seed, 200, 3, 3)
        stacks = filters[places].split(1000)
        bank = FilterBank(tuple(LayerFilters(f"layer.{i}", f, depth=i) for i, f in enumerate(stacks)), model="many")
        few = sk.fit(filters)
        values = StackFit(*(getattr(few.values, field.name)[places] for field in fields(StackFit)))
        fits.append(Fit(bank, few.spec, values))
    return tuple(fits)


def fits_of(bank):
    """Fit a bank, white noise and matched noise."""
    return sk.fit(bank), sk.fit(sk.white_noise_like(bank)), sk.fit(sk.matched_noise_like(bank))


@lru_cache
def fitted(name):
    """Return the fit of a bank and those of its two controls, by its name."""
    if name == "many":
        return _many()
    return fits_of(_BANKS[name]())


@lru_cache
def analysis_of(name):
    """Return the analysis of a bank, by its name: what its report and its figures are made of."""
    return Analysis.of(*fitted(name))


@lru_cache
def rendered(name):
    """Return the source of the report of a bank, by its name."""
    return render_analysis(analysis_of(name))


@lru_cache
def page_of(name):
    """Return the report of a bank, taken apart."""
    return ParsedPage(rendered(name))
