"""Fixtures around a small network."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_network import DEPTHWISE, Net, small_network
from torch import nn

from scalekeys.filters import FilterBank

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where torchvision_placeholder.py lies
importlib.import_module("torchvision_placeholder").install()


@pytest.fixture
def net() -> Net:
    return small_network()


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
        assert layer.kernels.shape == shape
        assert layer.kernels.dtype == (torch.float64 if expected.dtype == torch.float64 else torch.float32)
        assert torch.equal(layer.kernels, expected[:, 0].to(layer.kernels.dtype))
        assert not layer.kernels.requires_grad
        assert (layer.stride, layer.dilation) == ((stride, dilation) if graph else (None, None))
