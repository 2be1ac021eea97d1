"""The eight published master key filters.

The numbers are published figures (CC BY 4.0): the eight filters are due to Z. Babaiee, P. M. Kiasari, D. Rus and
R. Grosu (2025), as printed by T. Lindeberg, Z. Babaiee and P. M. Kiasari, "Modelling and analysis of the 8 filters from
the 'master key filters hypothesis' for depthwise-separable deep networks in relation to idealized receptive fields
based on scale-space theory", JMIV 68(3):22, 2026.
"""

import csv
from functools import lru_cache
from importlib import resources

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.scalespace import IDEAL8

MASTER_KEY_FAMILIES: tuple[str, ...] = IDEAL8
"""The family that models each published filter, in their order."""


def master_keys() -> Float[Tensor, "8 7 7"]:
    """Return the eight published master key filters.

    Returns
    -------
    Tensor, shape (8, 7, 7), float64
        Rows from top (y = 3) to bottom; unit l2 norm and zero mean up to the rounding of the published figures. Their
        models are named by :data:`MASTER_KEY_FAMILIES`.

    References
    ----------
    Babaiee, Kiasari, Rus, Grosu (2025); Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026.

    Examples
    --------
    >>> master_keys()[7, 3, 2:5]
    tensor([0.1608, 0.9209, 0.1520], dtype=torch.float64)
    """
    return torch.tensor(_table(), dtype=torch.float64)


@lru_cache(maxsize=1)
def _table() -> list[list[list[float]]]:
    text = resources.files("scalekeys.filters").joinpath("data/master_key_filters.csv").read_text(encoding="utf-8")
    rows = sorted(csv.DictReader(text.splitlines()), key=lambda row: (int(row["filter"]), -int(row["y"])))
    values = [[float(row[f"x{x}"]) for x in range(-3, 4)] for row in rows]
    return [values[start : start + 7] for start in range(0, len(values), 7)]
