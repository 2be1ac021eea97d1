"""Filters as data: banks of layers, the eight published keys, spread, separability, normalisation and the controls."""

from scalekeys.filters.assignment import KeyAssignment, assign_keys
from scalekeys.filters.bank import FilterBank, LayerFilters, LeftOut
from scalekeys.filters.control import NoiseModel, noise_model, white_noise_like
from scalekeys.filters.copies import Copies, copies
from scalekeys.filters.keys import MASTER_KEY_FAMILIES, master_keys
from scalekeys.filters.matched_noise import matched_noise_like
from scalekeys.filters.normalization import Normalized, dc_offset, moment_normalization
from scalekeys.filters.replacement import KEEP, Modelled, Replacement, replacement
from scalekeys.filters.separability import separability
from scalekeys.filters.spread import Spread, coordinates, spread

__all__ = [
    "KEEP",
    "MASTER_KEY_FAMILIES",
    "Copies",
    "FilterBank",
    "KeyAssignment",
    "LayerFilters",
    "LeftOut",
    "Modelled",
    "NoiseModel",
    "Normalized",
    "Replacement",
    "Spread",
    "assign_keys",
    "coordinates",
    "copies",
    "dc_offset",
    "master_keys",
    "matched_noise_like",
    "moment_normalization",
    "noise_model",
    "replacement",
    "separability",
    "spread",
    "white_noise_like",
]
