"""A network and its images in two halves: what is learned on one is measured on the other, and the reverse."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

import imagenet_sample
import mcunet
import scalekeys as sk
from scalekeys.networks import Evaluation

Batches: TypeAlias = Sequence[tuple[Tensor, Tensor]]
BATCH = 50


class Halves:
    """A network, and two halves of the images, every other one."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.network = network
        self._halves = [
            list(zip(images[start::2].split(BATCH), labels[start::2].split(BATCH), strict=True)) for start in (0, 1)
        ]
        self.original = self.evaluate([self.network, self.network])

    @classmethod
    def of_mcunet(cls) -> "Halves":
        """Take MCUNet, and the 500 images of ``imagenet_sample``; channels last, which takes half the time."""
        network = mcunet.build(checkpoint=mcunet.CHECKPOINT).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images, labels = imagenet_sample.read()
        return cls(network, images.contiguous(memory_format=torch.channels_last), labels)

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
