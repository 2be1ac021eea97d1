"""Filters as data: banks of layers, the eight published keys, spread measures and the random control."""

from scalekeys.filters.bank import FilterBank, LayerFilters
from scalekeys.filters.control import noise_like
from scalekeys.filters.keys import MASTER_KEY_FAMILIES, master_keys
from scalekeys.filters.spread import Spread, coordinates, spread

__all__ = [
    "MASTER_KEY_FAMILIES",
    "FilterBank",
    "LayerFilters",
    "Spread",
    "coordinates",
    "master_keys",
    "noise_like",
    "spread",
]
