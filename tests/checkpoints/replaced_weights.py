"""What the tensors of a source are to be after a replacement."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from scalekeys.filters import Replacement


def replaced_state(state: Mapping[str, Tensor], chosen: Replacement) -> dict[str, Tensor]:
    """Return a state dict with the replaced filters in it, rounded to the types of the weights."""
    expected = {key: value.detach().clone() for key, value in state.items()}
    start = 0
    for layer in chosen.filters:
        mine = chosen.replaced[start : start + len(layer)]
        start += len(layer)
        weight = expected[f"{layer.name}.weight"]
        weight[mine, 0] = layer.kernels[mine].to(weight.dtype)
    return expected


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names, their order, types and bits."""
    assert list(found) == list(expected)
    for key, value in found.items():
        assert value.dtype == expected[key].dtype
        assert value.shape == expected[key].shape
        assert (
            value.contiguous().flatten().view(torch.uint8).equal(expected[key].contiguous().flatten().view(torch.uint8))
        ), key


def changed_bytes(before: bytes, after: bytes) -> set[int]:
    """Return where two files of one length differ."""
    assert len(before) == len(after)
    return {place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other}


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds, hidden things too."""
    return sorted(path.name for path in folder.iterdir())
