"""From input to output by name, for sources that do not keep the order of the network.

A safetensors file sorts its tensors by type and name, and the index of a sharded folder by name. What is left is the
naming habits of the field: numbers count upwards, a stem comes first, a head last. It is a guess; the order of a
``.pth`` file, of a graph or of a module is the network's own and is kept.
"""

import re

_HABITS = tuple(
    (rank, re.compile(pattern))
    for rank, pattern in (
        (0, r"(.*_)?stem(_.*|\d*)|first_conv|conv_first|(patch_)?embed(ding)?s?|patch_embed.*|downsampl.*|.*_start"),
        (1, r"backbone|encoder|features|trunk"),
        (3, r"mlp|ffn|feed_forward|.*_end|neck|bridge|bottleneck"),
        (4, r"decoder|decode_head|upsampler?"),
        (5, r"(.*_)?head|classifier|fc|final.*|last.*|output.*"),
    )
)
_EVERYTHING_ELSE = 2
_Part = tuple[int, tuple[tuple[int, int, str], ...]]


def network_order(name: str) -> tuple[_Part, ...]:
    """Return a sort key that puts the names of layers in the likely order of their network.

    >>> sorted(["head.dw", "stages.10.dw", "stages.2.mlp", "stages.2.attn", "stem.0"], key=network_order)
    ['stem.0', 'stages.2.attn', 'stages.2.mlp', 'stages.10.dw', 'head.dw']
    """
    return tuple((_rank(part), _natural(part)) for part in name.split("."))


def _rank(part: str) -> int:
    return next((rank for rank, habit in _HABITS if habit.fullmatch(part)), _EVERYTHING_ELSE)


def _natural(part: str) -> tuple[tuple[int, int, str], ...]:
    pieces = re.split(r"([0-9]+)", part)
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece)
