"""Networks whose offers are followed, each with images and a measure of what it computes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Protocol

import torch
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional as F

import imagenet_sample
from offers_sections.ways import Images
from scalekeys.networks import Evaluation
from scalekeys.training.cifar_convnext import PREPROCESSING
from scalekeys.training.network_source import open_network
from surgery_sections.comparisons import compared
from surgery_sections.halves import Halves
from timing import channels_last
from zoo_networks import extremec3, lkdn

BATCH = 25
CIFAR = imagenet_sample.SAMPLE.with_name("cifar10_jpeg.npz")
CIFAR_IMAGES = 4_000
OPEN = {
    "as built": lkdn.Open(),
    "dilation 1": lkdn.Open(dilation=1),
    "dilation 2": lkdn.Open(dilation=2),
    "dilation 4": lkdn.Open(dilation=4),
    "ReLU": lkdn.Open(activation="relu"),
    "input added": lkdn.Open(adds=True),
}


class Subject(Protocol):
    """A network, and what its offers are measured by."""

    network: nn.Module
    size: tuple[int, int]
    figure: str

    def parts(self) -> Sequence[Images]:
        """Return images without labels, with which offers are followed; one network is made with each part."""

    def measured(self, networks: Sequence[nn.Module]) -> Any:
        """Measure the networks that were made with the parts, on other images than theirs."""

    def compared(self, found: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what was measured of each offer beside the original: before, after, points, from and to."""


class Classifier:
    """Top-1 accuracy, on two halves of the images: what is made with one is measured on the other."""

    figure = "top-1, percent"

    def __init__(self, halves: Halves, size: tuple[int, int]) -> None:
        self._halves, self.network, self.size = halves, halves.network, size

    def parts(self) -> Sequence[Images]:
        return list(self._halves.each())

    def measured(self, networks: Sequence[nn.Module]) -> Evaluation:
        return self._halves.evaluate(networks)

    def compared(self, found: Sequence[Evaluation]) -> list[dict[str, Any]]:
        original = self._halves.original
        pairs = [(one, original) for one in found]
        return [
            {"before": round(100 * original.top1, 2), "after": round(100 * one.top1, 2)} | row
            for one, row in zip(found, compared(pairs), strict=True)
        ]


@dataclass
class Dense:
    """A network whose outputs are images: a figure of each image, and its mean with an interval.

    Parameters
    ----------
    network : nn.Module
    inputs : Tensor
        The first batch is for following, the others are for measuring.
    figure : str
        What is measured of each image.
    measure : callable
        Of outputs, the outputs of the original, and the place of the images among all.
    others : mapping of str to callable
        Further figures, of which the means are kept.
    """

    network: nn.Module
    inputs: Tensor
    figure: str
    measure: "Measure"
    others: Mapping[str, "Measure"]

    def __post_init__(self) -> None:
        self.size = self.inputs.shape[-2], self.inputs.shape[-1]
        self._outputs = self._run(self.network)

    def parts(self) -> Sequence[Images]:
        return [[self.inputs[:BATCH]]]

    def measured(self, networks: Sequence[nn.Module]) -> dict[str, Tensor]:
        outputs = self._run(networks[0])
        figures = {self.figure: self.measure, **self.others}
        return {name: measure(outputs, self._outputs, slice(BATCH, None)) for name, measure in figures.items()}

    def compared(self, found: Sequence[dict[str, Tensor]]) -> list[dict[str, Any]]:
        original = self.measure(self._outputs, self._outputs, slice(BATCH, None))
        rows = []
        for one in found:
            after = one[self.figure]
            middle, low, high = interval(after - original)
            row = {"before": round(float(original.mean()), 3), "after": round(float(after.mean()), 3)}
            row |= {"points": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}
            rows.append(row | {name: round(float(one[name].mean()), 3) for name in self.others})
        return rows

    @torch.inference_mode()
    def _run(self, network: nn.Module) -> Tensor:
        return torch.cat([network(batch) for batch in self.inputs[BATCH:].split(BATCH)])


Measure = Callable[[Tensor, Tensor, slice], Tensor]


def interval(differences: Tensor) -> tuple[float, float, float]:
    """Return the mean of a figure of images, and its interval of 95 % by Student's t."""
    mean, count = float(differences.mean()), len(differences)
    half = float(student.ppf(0.975, count - 1)) * float(differences.double().std()) / sqrt(count)
    return mean, mean - half, mean + half


def of_mcunet() -> Subject:
    return Classifier(Halves.of_mcunet(), (imagenet_sample.SIDE,) * 2)


def of_cifar() -> Subject:
    """Take the network that comes with the package and the first test images of CIFAR-10."""
    network = channels_last(open_network("builtin:cifar-convnext").module)
    pixels, labels = _pictures(CIFAR, CIFAR_IMAGES)
    mean, std = (torch.tensor(values)[:, None, None] for values in (PREPROCESSING.mean, PREPROCESSING.std))
    return Classifier(Halves(network, channels_last((pixels - mean) / std), labels), (32, 32))


def of_extremec3(images: int) -> Subject:
    """Take a network without labels: how much of each image it decides as before."""
    inputs = F.interpolate(_pictures(imagenet_sample.SAMPLE, images)[0], (224, 224), mode="area")
    network = extremec3.build(extremec3.CHECKPOINT)

    def agreement(outputs: Tensor, original: Tensor, images: slice) -> Tensor:  # noqa: ARG001
        return 100 * ((outputs > 0) == (original > 0)).double().flatten(1).mean(1)

    def change(outputs: Tensor, original: Tensor, images: slice) -> Tensor:  # noqa: ARG001
        norms = [torch.linalg.vector_norm(part.double().flatten(1), dim=1) for part in (outputs - original, original)]
        share: Tensor = 100 * norms[0] / norms[1]
        return share

    others = {"change of the outputs, percent of their norm": change}
    return Dense(network, 2 * inputs - 1, "pixels decided as before, percent", agreement, others)


def of_lkdn(images: int) -> Subject:
    """Take a network that enlarges images: how near it comes to the true ones, and to what it gave before."""
    true, small = enlargement_task(images)

    def to_true(outputs: Tensor, original: Tensor, images: slice) -> Tensor:  # noqa: ARG001
        return psnr(outputs, true[images])

    def to_original(outputs: Tensor, original: Tensor, images: slice) -> Tensor:  # noqa: ARG001
        return psnr(outputs, original)

    others = {"PSNR to the output before, dB": to_original}
    return Dense(lkdn.build(lkdn.CHECKPOINT), small, "PSNR to the true image, dB", to_true, others)


def enlargement_task(images: int) -> tuple[Tensor, Tensor]:
    """Return true images and the same reduced four times by antialiased bicubic interpolation, in steps of 1/255."""
    true = _pictures(imagenet_sample.SAMPLE, images)[0]
    small = F.interpolate(true, scale_factor=1 / lkdn.SCALE, mode="bicubic", antialias=True)
    return true, (small.clamp(0, 1) * 255).round() / 255


@torch.inference_mode()
def against_bicubic(images: int) -> list[dict[str, Any]]:
    """Measure how much nearer to the true images the rebuilt network comes than bicubic interpolation, as built or not.

    The PSNR is that of luma without a border of four pixels, as usual in super-resolution.
    """
    true, small = enlargement_task(images)
    plain = psnr(F.interpolate(small, scale_factor=lkdn.SCALE, mode="bicubic"), true)
    rows = [{"network": "bicubic", "psnr": round(float(plain.mean()), 3), "gain": 0.0, "from": 0.0, "to": 0.0}]
    for name, choice in OPEN.items():
        network = lkdn.build(lkdn.CHECKPOINT, choice)
        found = psnr(torch.cat([network(batch) for batch in small.split(BATCH)]), true)
        gain, low, high = (round(value, 3) for value in interval(found - plain))
        rows.append({"network": name, "psnr": round(float(found.mean()), 3), "gain": gain, "from": low, "to": high})
    return rows


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of the luma of each image (BT.601), without a border; at most 100 dB."""
    weights = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255
    luma, other = ((weights * part.clamp(0, 1)).sum(1)[:, 4:-4, 4:-4].double() for part in (images, others))
    return -10 * (luma - other).square().mean((1, 2)).clamp_min(1e-10).log10()


def _pictures(path: Path, limit: int) -> tuple[Tensor, Tensor]:
    images, labels = zip(*imagenet_sample.pictures(path, limit=limit), strict=True)
    return torch.stack(images), torch.tensor(labels)
