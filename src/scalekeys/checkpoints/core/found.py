"""What a tensor of a flat dict is judged to be, and why tensors of some types are not read."""

from dataclasses import dataclass

from scalekeys.checkpoints.core.arrangement import Arrangement
from scalekeys.checkpoints.core.inventory import DISTRIBUTED, NESTED
from scalekeys.checkpoints.core.kinds import DEPTHWISE_ONLY, Kinds

_OF_TYPES = {
    "nested": NESTED,
    "DTensor": DISTRIBUTED,
    "float8_e8m0fnu": "it holds float8_e8m0fnu values, which are scales of blocks and no filters",
}


@dataclass(frozen=True)
class Found:
    """A tensor that looks like the weight of a convolution."""

    key: str
    arrangement: Arrangement | None = None
    """How its filters stand in it; None where it is not read whatever is asked for."""
    reason: str = ""
    """Why it is left out where it is not read; empty where it is then not spoken of."""
    is_of_other_type: bool = False
    """Whether it is a depthwise weight but for the type of its numbers."""
    kinds: Kinds = DEPTHWISE_ONLY
    """What it can be: it is read where all of them are asked for."""


def of_other_type(key: str, dtype: str) -> Found:
    """Return what is found where a weight holds numbers of a type that is not read."""
    reason = _OF_TYPES.get(dtype) or (
        f"it holds {dtype} values, not floating-point filters; give the network before quantisation, or convert its "
        "weights to float"
    )
    if dtype.startswith("complex"):
        reason = f"it holds complex numbers ({dtype}), and filters of real numbers are read"
    return Found(key, reason=reason, is_of_other_type=dtype not in _OF_TYPES)
