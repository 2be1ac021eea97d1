"""The eight idealized receptive fields with the scales that the paper's methods give them."""

from functools import lru_cache

import torch
from jaxtyping import Float64
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.filters import MASTER_KEY_FAMILIES, master_keys
from scalekeys.paper.study import METHODS, fit_by

_METHODS = {method.name: method for method in METHODS if not method.start}
_SHORT = {"A": "A1", "B": "B1"}  # these give a scale for each axis only

TEMPLATE_METHODS: tuple[str, ...] = (*_SHORT, *_METHODS)
"""Names of the methods that give each filter its own scales: A and A1 are the same, and B and B1."""


def method_templates(method: str) -> Float64[Tensor, "8 7 7"]:
    """Return the models of the eight published filters by one of the paper's methods.

    Parameters
    ----------
    method : str
        ``"A"`` (variance, by the formula for continuous Gaussians), ``"B"`` (variance), ``"C1"`` (l1) or ``"D1"``
        (l2), with a scale for each axis; ``"C2"`` or ``"D2"`` with one for both.

    Returns
    -------
    Tensor, shape (8, 7, 7), float64
        Templates in the published window, in the units of the published filters.

    Raises
    ------
    ModelError
        If there is no such method.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, methods A to D.

    Examples
    --------
    >>> templates = method_templates("D2")
    >>> float((templates - master_keys()).norm() / master_keys().norm()) < 0.5
    True
    """
    if method not in TEMPLATE_METHODS:
        allowed = ", ".join(TEMPLATE_METHODS[:-1]) + f" or {TEMPLATE_METHODS[-1]}"
        raise ModelError(f"the paper has no method {method!r} with scales for each filter; use {allowed}")
    return torch.tensor(_templates(_SHORT.get(method, method)), dtype=torch.float64)


@lru_cache(maxsize=len(_METHODS))
def _templates(method: str) -> list[list[list[float]]]:
    kernels = fit_by(_METHODS[method], master_keys(), MASTER_KEY_FAMILIES, window="published").kernels()
    assert isinstance(kernels, Tensor)
    values: list[list[list[float]]] = kernels.tolist()
    return values
