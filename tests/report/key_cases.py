"""Clusterings that stand for what a report on keys meets, each computed and rendered once for the whole run."""

from functools import lru_cache

import torch
from analysis_cases import HOSTILE

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.report.keys import render_keys_report
from scalekeys.report.keys.view import KeysView


def _noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _copies(seed, count, noise=0.03):
    signs = _noise(seed, count, 1, 1).sign()
    return signs * (sk.master_keys().repeat(count // 8, 1, 1) + noise * _noise(seed + 1, count, 7, 7)) + 0.5


def _network():
    broken = torch.cat([_copies(6, 16), torch.full((1, 7, 7), 2.0)])
    return FilterBank(
        (
            LayerFilters("net.blocks.0.dw", _copies(0, 40), depth=0),
            LayerFilters("net.blocks.1.dw", _copies(2, 80, noise=0.1), depth=1),
            LayerFilters("net.blocks.2.dw", broken, depth=2),
        ),
        model="a small network",
        notes=("read params_ema of sigma/net.pth",),
    )


def _other():
    filters = _noise(9, 12, 3, 3)
    return FilterBank(
        (LayerFilters("stem", filters), LayerFilters("head", _noise(10, 6, 5, 5), depth=1)), model="other"
    )


def _hostile():
    layers = (LayerFilters(HOSTILE, _noise(0, 12, 5, 5)), LayerFilters("x" * 80, _noise(1, 12, 5, 5), depth=1))
    return FilterBank(layers, model=HOSTILE, notes=(HOSTILE,))


def _deep():
    return FilterBank(
        tuple(
            LayerFilters(f"backbone.encoder.stages.{i // 25}.blocks.{i % 25}.depthwise_convolution", f, depth=i)
            for i, f in enumerate(_noise(0, 100, 2, 5, 5))
        ),
        model="deep",
    )


def _even():
    return FilterBank.from_tensor(_noise(3, 20, 4, 4), model="even")


CASES = {
    "network": lambda: (sk.cluster(_network(), 8, restarts=2), sk.choose_k(_network(), (1, 2, 4, 8), restarts=2)),
    "several": lambda: (sk.cluster([_network(), _other(), _network()], 14, restarts=2), None),
    "turned": lambda: (sk.cluster([_network(), _other()], 5, symmetry="dihedral", weighting="energy"), None),
    "hostile": lambda: (sk.cluster([_hostile(), _hostile()], 3), sk.choose_k(_hostile(), (1, 2), restarts=1)),
    "deep": lambda: (sk.cluster(_deep(), 8, restarts=1), None),
    "even": lambda: (sk.cluster(_even(), 2), None),
    "one": lambda: (sk.cluster(FilterBank.from_tensor(_noise(0, 1, 7, 7)), 1, restarts=1), None),
}


@lru_cache
def found(name):
    """Return keys and the study of their number by the name of a case."""
    return CASES[name]()


@lru_cache
def source(name):
    """Return the page of a case."""
    keys, choice = found(name)
    return render_keys_report(keys, choice=choice)


def view(name):
    """Return what the sections of a case read."""
    return KeysView(*found(name), 0.8)
