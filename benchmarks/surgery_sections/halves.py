"""Networks and their images in two halves: what is learned on one is measured on the other, and the reverse."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

import imagenet_sample
import mcunet
import scalekeys as sk
from scalekeys.networks import Evaluation
from scalekeys.training.cifar_convnext import PREPROCESSING
from scalekeys.training.data.cifar import packed
from scalekeys.training.network_source import open_network

Batches: TypeAlias = Sequence[tuple[Tensor, Tensor]]
BATCH = 50
CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10_jpeg.npz"
CIFAR_IMAGES = 2_000


class Halves:
    """A network, and two halves of the images, every other one."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, batch: int = BATCH) -> None:
        self.network = network
        self._halves = [
            list(zip(images[start::2].split(batch), labels[start::2].split(batch), strict=True)) for start in (0, 1)
        ]
        self.original = self.evaluate([self.network, self.network])

    @classmethod
    def of_mcunet(cls) -> "Halves":
        """Take MCUNet, and the 500 images of ``imagenet_sample``; channels last, which takes half the time."""
        network = mcunet.build(checkpoint=mcunet.CHECKPOINT).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images, labels = imagenet_sample.read()
        return cls(network, images.contiguous(memory_format=torch.channels_last), labels)

    @classmethod
    def of_cifar_convnext(cls) -> "Halves":
        """Take the network that comes with the package, and the first test images of CIFAR-10."""
        images, _ = packed(CIFAR, "test")
        pixels, labels = images.pixels[:CIFAR_IMAGES].float() / 255, images.labels[:CIFAR_IMAGES]
        mean, std = (torch.tensor(values)[:, None, None] for values in (PREPROCESSING.mean, PREPROCESSING.std))
        network = open_network("builtin:cifar-convnext").module.eval()
        return cls(network, (pixels - mean) / std, labels, 250)

    def each(self) -> Iterator[list[Tensor]]:
        """Give the images of one half, then those of the other."""
        for half in self._halves:
            yield [images for images, _ in half]

    def labelled(self, index: int) -> Batches:
        return self._halves[index]

    def evaluate(self, networks: Sequence[nn.Module]) -> Evaluation:
        """Evaluate each network on the half that it does not come from, and put both together."""
        found = [sk.evaluate(network, half) for network, half in zip(networks, self._halves[::-1], strict=True)]
        correct1, correct5, labels = (
            torch.cat([getattr(one, name) for one in found]) for name in ("correct1", "correct5", "labels")
        )
        return Evaluation(correct1, correct5, labels, found[0].classes)

    def matched(self, networks: Sequence[nn.Module]) -> Evaluation:
        """Match the outputs of each network to the original on the half that it comes from, and evaluate."""
        pairs = zip(networks, self.each(), strict=True)
        return self.evaluate([sk.recalibrate(network, images, self.network) for network, images in pairs])
