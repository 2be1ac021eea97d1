"""Families and difference operators as tables of plain numbers, for the explorer in the browser."""

from collections.abc import Mapping
from typing import Any

from scalekeys.report.page.families import family_colour, is_mixture, words_of
from scalekeys.scalespace import DIFFERENCES, WIDE_JET, families
from scalekeys.scalespace.parametrizations import AxisScales, Oriented, Strengthened, TwoScales

_KINDS = {AxisScales: "scales", Strengthened: "strength", TwoScales: "two-scales", Oriented: "oriented"}


def operator_table() -> dict[str, dict[str, list[list[float]]]]:
    """Return the stencil of each difference operator by name, for taps at integers and half-way between them.

    Examples
    --------
    >>> operator_table()["forward"]
    {'whole': [[1, 1.0], [0, -1.0]], 'half': [[1.5, 0.5], [-0.5, -0.5]]}
    """
    return {
        name: {"whole": _pairs(operator.stencil), "half": _pairs(operator.half or {})}
        for name, operator in DIFFERENCES.items()
    }


def family_table(axes: int, sparse: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the families of kernels of so many axes: names, words, parameters and separable terms.

    Parameters
    ----------
    axes : int
        1, 2 or 3.
    sparse : tuple of str
        Names of sparse models, ``sparseK``, to be added: of the jet of order 6 they take K derivatives.

    Examples
    --------
    >>> [family["name"] for family in family_table(1)][:5]
    ['dx-', 'dx+', 'dx', 'sharpen', 'smooth']
    >>> family_table(1)[2]["components"], family_table(1)[2]["parameters"]
    ([[[1.0, ['central']]]], ['tx'])
    """
    found = []
    for name, family in families(axes).items():
        own = family.parametrization
        found.append(
            {
                "name": name,
                "words": family.words,
                "colour": family_colour(name),
                "kind": _KINDS[type(own)],
                "parameters": list(own.names),
                "order": own.order if isinstance(own, Oriented) else None,
                "mixture": is_mixture(name),
                "terms": None,
                "components": [[[term.weight, list(term.operators)] for term in part] for part in family.components],
            }
        )
    wide = next(family for family in found if family["name"] == WIDE_JET)
    return found + [
        wide | {"name": name, "words": words_of(name, axes), "terms": int(name.removeprefix("sparse"))}
        for name in sparse
    ]


def _pairs(stencil: Mapping[float, float]) -> list[list[float]]:
    return [[offset, weight] for offset, weight in stencil.items()]
