"""How verbs read the filters of a source."""

from scalekeys.checkpoints import extract
from scalekeys.filters import FilterBank

DEPTHWISE = "depthwise"
"""The kind of convolutions that is read unless others are asked for."""


def read_bank(source: str, *, weights: str | None = None, kinds: str = DEPTHWISE) -> FilterBank:
    """Read the filters of a source.

    Parameters
    ----------
    source : str
    weights : str, optional
        Which entry of a nested checkpoint to read.
    kinds : str
        The kinds of convolutions, as :func:`scalekeys.extract` names them.
    """
    asked = {} if kinds == DEPTHWISE else {"kinds": kinds}
    return extract(source, weights=weights, **asked)
