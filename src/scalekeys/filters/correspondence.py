"""Which layers of two networks are the same layer, by name and shape."""

from collections.abc import Collection, Sequence

from scalekeys.errors import FilterError
from scalekeys.filters.bank import FilterBank
from scalekeys.shapes import size_text


def corresponding_names(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return for each name the one among others that names the same layer, where there is one.

    Names are the same where they are equal but for one prefix, which a wrapper puts before all names of a network.

    >>> corresponding_names(["encoder.stages.0.dw", "decoder.0.dw"], ["stages.0.dw", "stages.1.dw"])
    {'encoder.stages.0.dw': 'stages.0.dw'}
    """
    return _matched(names, set(others), *_prefixes(names, others))


def corresponding_part(names: Sequence[str], others: Sequence[str]) -> str:
    """Return the prefix of the part of a network that another network is, with its dot; empty for the whole.

    >>> corresponding_part(["encoder.stages.0.dw", "decoder.0.dw"], ["stages.0.dw", "stages.1.dw"])
    'encoder.'
    """
    return _prefixes(names, others)[0]


def _prefixes(names: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Return the prefix of the names and that of the others without which most of them are equal."""
    pairs = [(name, other) for name in names for other in others]
    prefixes = [(name.removesuffix(other), "") for name, other in pairs if name.endswith(f".{other}")]
    prefixes += [("", other.removesuffix(name)) for name, other in pairs if other.endswith(f".{name}")]
    known = set(others)
    return max(dict.fromkeys([("", ""), *prefixes]), key=lambda pair: len(_matched(names, known, *pair)))


def _matched(names: Sequence[str], known: Collection[str], mine: str, theirs: str) -> dict[str, str]:
    same = {name: theirs + name.removeprefix(mine) for name in names if name.startswith(mine)}
    return {name: other for name, other in same.items() if other in known}


def corresponding_parts(bank: FilterBank, source: FilterBank, wanted: Sequence[bool]) -> list[slice | None]:
    """Return where the filters of each layer of a bank that is wanted have their counterparts in another bank.

    `bank`, `source`: of two networks.
    `wanted`: one a layer of `bank`.
    Returns one entry a layer of `bank`, None where it is not wanted.
    Raises FilterError if the other network has no such layer of as many filters of the same size.

    >>> import scalekeys as sk
    >>> bank = FilterBank.from_tensor(sk.master_keys(), layer="dw")
    >>> corresponding_parts(bank, bank, [True]), corresponding_parts(bank, bank, [False])
    ([slice(0, 8, None)], [None])
    """
    known = {layer.name: (tuple(layer.kernels.shape), part) for layer, part in source.parts()}
    same = corresponding_names([layer.name for layer in bank], list(known))
    parts: list[slice | None] = []
    for layer, mine in zip(bank, wanted, strict=True):
        shape, part = known.get(same.get(layer.name, ""), ((), None))
        if mine and shape != tuple(layer.kernels.shape):
            raise FilterError(
                f"{source.model}: has no depthwise layer {layer.name!r} of {len(layer)} filters of "
                f"{size_text(layer.size)}, as {bank.model} has; keep that layer as it is, or name a network with the "
                "same layers"
            )
        parts.append(part if mine else None)
    return parts
