"""Checkpoints to measure on: architectures of timm, and networks of a wanted number of filters."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fit_sections import samples
from scalekeys.checkpoints.core.checkpoint import is_depthwise_shape

TESTS = Path(__file__).parents[2] / "tests"
"""Where the stand-ins for servers and missing operators lie."""

_LARGEST_MB = 120
_PATTERNS = (
    *("caformer*", "convformer*", "convnext*", "edgenext*", "efficientformerv2*", "efficientnet_*", "efficientvit_b*"),
    *("fastvit*", "fbnet*", "gernet*", "ghostnet*", "hardcorenas*", "hgnetv2*", "inception_next*", "lcnet*"),
    *("mambaout*", "mixnet*", "mnasnet*", "mobilenetv[234]*", "mobileone*", "mobilevit*", "rdnet*", "repghost*"),
    *("repvit*", "rexnet*", "semnasnet*", "spnasnet*", "starnet*", "swiftformer*", "test_*", "tf_efficientnet*"),
    *("tf_mixnet*", "tf_mobilenetv3*", "tinynet*"),
)


@dataclass(frozen=True)
class Made:
    """A checkpoint that was made, and what was planted into it.

    Parameters
    ----------
    path : Path
    architecture : str
    parameters : int
        With what is not learned, such as statistics of batches.
    noise_share : float
        Of the energy of its depthwise filters.
    """

    path: Path
    architecture: str
    parameters: int
    noise_share: float


def from_timm(folder: Path, count: int, seed: int) -> list[Made]:
    """Save so many networks of architectures of timm, each architecture once before any comes again.

    Depthwise filters are idealized ones with noise: their scale grows from 0.5 to 1.1 pixels with depth, and the share
    of noise is drawn for each network. All other weights are 0, the size of a file is that of the real one.
    """
    chosen = list(islice(_architectures(count), count))
    return [_saved(folder, chosen[n % len(chosen)], n // len(chosen), seed + n) for n in range(count)]


def _architectures(count: int) -> Iterator[str]:
    """Give names of architectures with depthwise layers that are not too large, first a sample over all of them."""
    names = sorted({name for pattern in _PATTERNS for name in timm().list_models(pattern)})
    step = max(1, len(names) // count)
    sample = names[::step]
    yield from filter(_fits, [*sample, *sorted({*names} - {*sample})])


def _shapes(architecture: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in timm().create_model(architecture).state_dict().items()}


def timm() -> Any:
    sys.path.insert(0, str(TESTS))
    import_module("torchvision_placeholder").install()
    return import_module("timm")


def _fits(architecture: str) -> bool:
    shapes = _shapes(architecture)
    small = sum(shape.numel() for shape in shapes.values()) * 4 < _LARGEST_MB * 2**20
    return small and any(map(is_depthwise_shape, map(tuple, shapes.values())))


def _saved(folder: Path, architecture: str, again: int, seed: int) -> Made:
    shapes = _shapes(architecture)
    depthwise = [key for key, shape in shapes.items() if is_depthwise_shape(tuple(shape))]
    share = float(torch.rand((), generator=samples.generator(seed)))
    weights = {key: torch.zeros(shape) for key, shape in shapes.items() if key not in depthwise}
    for place, key in enumerate(depthwise):
        filters, _, rows, cols = shapes[key]
        depth = place / max(1, len(depthwise) - 1)
        weights[key] = _planted(filters, (rows, cols), 0.5 + 0.6 * depth, share, 1000 * seed + place)
    path = folder / f"{architecture}{f'-{again + 1}' if again else ''}.safetensors"
    save_file(weights, path)
    return Made(path, architecture, sum(shape.numel() for shape in shapes.values()), share)


def _planted(count: int, size: tuple[int, int], scale: float, noise_share: float, seed: int) -> Tensor:
    if any(side % 2 == 0 for side in size):
        return torch.randn(count, 1, *size, generator=samples.generator(seed))
    return samples.planted(count, size, scale, noise_share, seed)[:, None].contiguous()


def of_filters(folder: Path, filters: int, *, layers: int, network: int, seed: int) -> list[Path]:
    """Save networks of so many 7x7 filters together, each of `network` filters in `layers` layers."""
    paths = []
    for number in range(filters // network):
        stack = samples.mixtures(network, 7, seed + number)[:, None]
        weights = {f"{place}.dw.weight": part.contiguous() for place, part in enumerate(stack.chunk(layers))}
        paths.append(folder / f"net{number:05d}.safetensors")
        save_file(weights, paths[-1])
    return paths
