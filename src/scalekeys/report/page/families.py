"""Families as a reader meets them: their words and formula, their template as an example, their colour and their mark.

What a family differentiates along is read from its name: ``dx`` and ``dxx`` along x, ``dy+`` along y, ``dxz`` along
both of its axes.
"""

import re
from collections.abc import Iterable

import numpy as np
import torch

from scalekeys.scalespace import ORIENTED, WIDE_JET, Family, families, template, template_plan

COLOURS = 20
"""How many family colours the stylesheet has; families beyond them share the last one."""

TEMPLATE_SIGMA, TEMPLATE_ALPHA = 0.7, 0.5
"""The scale and the sharpening strength at which families are pictured."""

_TEMPLATE_SIDE, _OUTER_SIGMA, _ANGLE = 7, 1.0, 0.5
_COLOURED = (
    *("dy+", "dx-", "dy-", "dx+", "dx", "dy", "sharpen", "smooth"),  # the filters of the paper in their order
    *("jet1", "jet2", "jet3", "dxx", "dyy", "dxy", "laplacian", "dog"),
    *("dz+", "dz-", "dz"),
)
_DIFFERENCE = re.compile(r"d([xyz]+)([+-]?)")
_SYMBOLS = {
    "dx+": "triangle-right",
    "dx-": "triangle-left",
    "dy+": "triangle-up",
    "dy-": "triangle-down",
    "dz+": "triangle-ne",
    "dz-": "triangle-sw",
    "sharpen": "square",
}
_CENTRED_SYMBOLS = {"x": "diamond-wide", "y": "diamond-tall", "z": "diamond"}


def words_of(name: str, axes: int = 2) -> str:
    """Return what a family of kernels of so many axes does, in words.

    Examples
    --------
    >>> words_of("dx"), words_of("sparse6")
    ('centred horizontal derivative', 'mixture of few derivatives, chosen for each filter')
    """
    return "mixture of few derivatives, chosen for each filter" if _is_sparse(name) else _family(name, axes).words


def formula_of(name: str, axes: int = 2) -> str:
    """Return the formula of a family of kernels of so many axes.

    Examples
    --------
    >>> formula_of("dx")
    'δx T(x; tx) · T(y; ty)'
    """
    return _family(name, axes).formula


def _family(name: str, axes: int) -> Family:
    return families(axes)[WIDE_JET if _is_sparse(name) else name]


def _is_sparse(name: str) -> bool:
    return name.startswith("sparse")


def is_mixture(name: str) -> bool:
    """Whether a family is a free mixture of derivatives.

    Examples
    --------
    >>> is_mixture("jet2"), is_mixture("dxy")
    (True, False)
    """
    return name.startswith("jet") or _is_sparse(name)


def differentiated(name: str) -> str:
    """Return the names of the axes along which a family takes a difference, each once.

    Examples
    --------
    >>> differentiated("dy+"), differentiated("dxy"), differentiated("smooth")
    ('y', 'xy', '')
    """
    found = _DIFFERENCE.fullmatch(name)
    return "".join(dict.fromkeys(found[1])) if found else ""


def family_colour(name: str) -> str:
    """Return the colour of a family.

    Examples
    --------
    >>> family_colour("dy+"), family_colour("smooth"), family_colour("jet6")
    ('var(--family-1)', 'var(--family-8)', 'var(--family-20)')
    """
    place = _COLOURED.index(name) + 1 if name in _COLOURED else COLOURS
    return f"var(--family-{place})"


def family_symbol(name: str) -> str:
    """Return the marker of a family: a triangle points to the neighbour that a one-sided difference looks at.

    Examples
    --------
    >>> family_symbol("dx-"), family_symbol("sharpen"), family_symbol("smooth"), family_symbol("dz")
    ('triangle-left', 'square', 'circle', 'diamond')
    """
    if is_mixture(name):
        return "star"
    along = differentiated(name)
    return _SYMBOLS.get(name) or _CENTRED_SYMBOLS.get(along[:1], "circle")


def by_kind(names: Iterable[str]) -> list[str]:
    """Order families so that related ones are neighbours: smoothing, mixtures, then differences in x, in y and in z.

    Examples
    --------
    >>> by_kind(["dz", "dy+", "dx", "smooth", "sharpen"])
    ['smooth', 'sharpen', 'dx', 'dy+', 'dz']
    """

    def kind(name: str) -> int:
        along = differentiated(name)
        if not along:
            return 0 if name in ("smooth", "dog") else 1
        return 1 if len(along) > 1 else 2 + "xyz".index(along)

    return sorted(names, key=kind)


def template_example(name: str, axes: int = 2) -> np.ndarray:
    """Return the template of a family with :data:`TEMPLATE_SIGMA` along every axis, on 7 taps along each.

    A mixture stands for all its components of equal norm together.

    Examples
    --------
    >>> template_example("dx").shape
    (7, 7)
    """
    size = (_TEMPLATE_SIDE,) * axes
    if is_mixture(name):
        variances = torch.full((1, axes), TEMPLATE_SIGMA**2, dtype=torch.float64)
        components = template_plan(WIDE_JET if _is_sparse(name) else name, size)(variances)[0]
        norms = components.flatten(1).norm(dim=-1).reshape(-1, *(1 for _ in size))
        return np.asarray((components / norms).sum(0))
    if name in ORIENTED:
        along = torch.tensor([[_OUTER_SIGMA**2, TEMPLATE_SIGMA**2, _ANGLE]], dtype=torch.float64)
        return np.asarray(template_plan(name, size)(along)[0, 0])
    scales = (TEMPLATE_SIGMA, _OUTER_SIGMA) if name == "dog" else (TEMPLATE_SIGMA,) * axes
    alpha = TEMPLATE_ALPHA if name == "sharpen" else None
    return np.asarray(template(name, torch.tensor(scales, dtype=torch.float64), size, alpha=alpha))
