"""Small networks and independent ways to count their depthwise filters."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scalekeys.filters import FilterBank

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where torchvision_placeholder.py lies


class Net(nn.Module):
    """Depthwise layers of several sizes, strides and dilations between dense ones, named as networks name them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(
            nn.Conv2d(8, 8, 7, padding=3, groups=8),
            nn.Conv2d(8, 16, 3, padding=1, groups=8, stride=2, bias=False),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 16, (1, 5), padding=(0, 4), groups=16, dilation=2),
            nn.Conv2d(16, 16, 1, groups=16),
            nn.Conv2d(16, 16, 3, padding=1, groups=4),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)).mean((-2, -1)))


DEPTHWISE = {"blocks.0": ((8, 7, 7), 1, 1), "blocks.1": ((16, 3, 3), 2, 1), "blocks.3": ((16, 1, 5), 1, 2)}
"""Shape, stride and dilation of the depthwise layers of the small network."""


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net().eval()


@pytest.fixture
def assert_filters_of() -> Callable[..., None]:
    return _assert_filters_of


def _assert_filters_of(bank: FilterBank, net: nn.Module, *, graph: bool, dtype: torch.dtype | None = None) -> None:
    """Compare a bank with the weights of the small network, bit by bit."""
    assert [layer.name for layer in bank.layers] == list(DEPTHWISE)
    assert [layer.depth for layer in bank.layers] == [0, 1, 2]
    for layer, (shape, stride, dilation) in zip(bank.layers, DEPTHWISE.values(), strict=True):
        weight = net.get_submodule(layer.name).weight.detach()
        expected = weight if dtype is None else weight.to(dtype)
        assert layer.filters.shape == shape
        assert layer.filters.dtype == (torch.float64 if expected.dtype == torch.float64 else torch.float32)
        assert torch.equal(layer.filters, expected[:, 0].to(layer.filters.dtype))
        assert not layer.filters.requires_grad
        assert (layer.stride, layer.dilation) == ((stride, dilation) if graph else (None, None))
