"""MCUNet and the sample of images in two halves: what is learned on one is measured on the other, and the reverse."""

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

    def __init__(self) -> None:
        self.network = mcunet.build(checkpoint=mcunet.CHECKPOINT)
        images, labels = imagenet_sample.read()
        self._halves = [
            list(zip(images[start::2].split(BATCH), labels[start::2].split(BATCH), strict=True)) for start in (0, 1)
        ]
        self.original = self.evaluate([self.network, self.network])

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

    def ways(self, networks: Sequence[nn.Module]) -> dict[str, Evaluation]:
        """Evaluate networks as they are, with statistics taken anew, and with outputs matched to the original."""
        references = {"as it is": self._unchanged, "anew": self._anew, "matched": self._matched}
        return {
            name: self.evaluate(
                [change(network, images) for network, images in zip(networks, self.each(), strict=True)]
            )
            for name, change in references.items()
        }

    def _unchanged(self, network: nn.Module, images: list[Tensor]) -> nn.Module:  # noqa: ARG002
        return network

    def _anew(self, network: nn.Module, images: list[Tensor]) -> nn.Module:
        return sk.recalibrate(network, images)

    def _matched(self, network: nn.Module, images: list[Tensor]) -> nn.Module:
        return sk.recalibrate(network, images, self.network)


def top1_of(ways: dict[str, Evaluation], original: Evaluation) -> dict[str, float]:
    """Return top-1 in percent for each way, and how far the best is from the original, with its interval."""
    best = max(ways.values(), key=lambda one: one.top1)
    difference = best.difference(original)
    low, high = difference.interval
    return {name: round(100 * one.top1, 1) for name, one in ways.items()} | {
        "best_less_original": round(100 * difference.value, 1),
        "from": round(100 * low, 1),
        "to": round(100 * high, 1),
    }
