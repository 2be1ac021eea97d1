"""Checkpoints to measure on: architectures of timm, and networks of a wanted number of filters."""

import sys
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fit_sections import samples
from scalekeys.checkpoints.checkpoint import is_depthwise_shape

_TESTS = Path(__file__).parents[2] / "tests"
_PATTERNS = (
    "convnext*",
    "mobilenetv[234]*",
    "efficientnet_b*",
    "mnasnet*",
    "fbnet*",
    "repghost*",
    "tinynet*",
    "lcnet*",
)
_LARGEST_MB = 120


def from_timm(folder: Path, count: int, seed: int) -> list[Path]:
    """Save so many networks of different architectures, small ones first by name, each with weights of its own."""
    sys.path.insert(0, str(_TESTS))
    import_module("torchvision_placeholder").install()
    timm = import_module("timm")
    names = sorted({name for pattern in _PATTERNS for name in timm.list_models(pattern)})
    step = max(1, len(names) // count)
    paths: list[Path] = []
    for name in [*names[::step], *names]:
        path = folder / f"{name}.safetensors"
        if len(paths) == count:
            break
        with torch.device("meta"):
            shapes = {key: tensor.shape for key, tensor in timm.create_model(name).state_dict().items()}
        small = sum(shape.numel() for shape in shapes.values()) * 4 < _LARGEST_MB * 2**20
        if path not in paths and small and any(map(is_depthwise_shape, map(tuple, shapes.values()))):
            save_file({key: _weight(shape, seed + len(paths)) for key, shape in shapes.items()}, path)
            paths.append(path)
    return paths


def of_filters(folder: Path, filters: int, *, layers: int, network: int, seed: int) -> list[Path]:
    """Save networks of so many 7x7 filters together, each of `network` filters in `layers` layers."""
    paths = []
    for number in range(filters // network):
        stack = samples.mixtures(network, 7, seed + number)[:, None]
        weights = {f"{place}.dw.weight": part.contiguous() for place, part in enumerate(stack.chunk(layers))}
        paths.append(folder / f"net{number:05d}.safetensors")
        save_file(weights, paths[-1])
    return paths


def _weight(shape: torch.Size, seed: int) -> Tensor:
    if not is_depthwise_shape(tuple(shape)):
        return torch.zeros(shape)
    count, _, rows, cols = shape
    square = rows == cols and rows in (3, 5, 7)
    filters = samples.mixtures(count, rows, seed) if square else samples.noise(count * rows, cols, seed)[:, 0]
    return filters.reshape(shape).contiguous()
