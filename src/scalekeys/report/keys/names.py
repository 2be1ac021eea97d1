"""Keys by name and colour, the same in every figure."""

from collections.abc import Sequence

from scalekeys.report.keys.summary import KeySummary, LayerKeys
from scalekeys.report.page.words import distinct_parts


def key_name(key: int) -> str:
    """Return what a key is called.

    Examples
    --------
    >>> key_name(3)
    'key 3'
    """
    return f"key {key}"


def key_label(key: KeySummary) -> str:
    """Return the name of a key with the family that models it, if one does."""
    return f"{key_name(key.key)} {key.model}" if key.model else key_name(key.key)


def short_names(layers: Sequence[LayerKeys]) -> dict[tuple[int, str], str]:
    """Return short names of layers, by network and name, without what all layers of their network share."""
    names: dict[int, list[str]] = {}
    for layer in layers:
        names.setdefault(layer.bank, []).append(layer.layer)
    return {
        (bank, name): short
        for bank, mine in names.items()
        for name, short in zip(mine, distinct_parts(mine), strict=True)
    }
