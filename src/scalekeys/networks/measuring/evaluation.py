"""How many images a network classifies correctly, and how well that is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import Batches, evaluating, labelled_inputs_of, logits_of, run_network
from scalekeys.proportions import paired_interval, wilson_interval


@dataclass(frozen=True)
class AccuracyDifference:
    """By how much one network is better than another on the same images.

    Parameters
    ----------
    value : float
        Share of images that the first classifies correctly less that of the second.
    interval : (float, float)
        Where the difference lies with 95 % confidence.
    gained, lost : int
        Images that only the first, and only the second, classifies correctly.
    """

    value: float
    interval: tuple[float, float]
    gained: int
    lost: int

    def __repr__(self) -> str:
        value, low, high = (100 * share for share in (self.value, *self.interval))
        return (
            f"AccuracyDifference({value:+.1f} points, 95 % from {low:+.1f} to {high:+.1f}; "
            f"{self.gained} gained, {self.lost} lost)"
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Which images a network classifies correctly.

    Parameters
    ----------
    correct1, correct5 : Tensor of bool, shape (images,)
        Whether the class of an image is the one with the largest output, and whether it is among the five largest.
        Where there are five classes or fewer it always is.
    labels : Tensor of int64, shape (images,)
    classes : int
        Outputs of the network.
    non_finite : int
        Images for which an output was not a finite number; they count as wrong.
    """

    correct1: Bool[Tensor, "images"]
    correct5: Bool[Tensor, "images"]
    labels: Int[Tensor, "images"]
    classes: int
    non_finite: int = 0

    def __repr__(self) -> str:
        (low, high), non_finite = self.top1_interval, f", {self.non_finite} not finite" if self.non_finite else ""
        return (
            f"Evaluation(top-1 {100 * self.top1:.1f} %, 95 % from {100 * low:.1f} to {100 * high:.1f}; "
            f"top-5 {100 * self.top5:.1f} %; {self.count} images{non_finite})"
        )

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def top1(self) -> float:
        """Share of images whose class has the largest output, from 0 to 1."""
        return int(self.correct1.sum()) / self.count

    @property
    def top5(self) -> float:
        """Share of images whose class is among the five largest outputs, from 0 to 1."""
        return int(self.correct5.sum()) / self.count

    @property
    def top1_interval(self) -> tuple[float, float]:
        """Where the top-1 accuracy on images of this kind lies with 95 % confidence."""
        return wilson_interval(int(self.correct1.sum()), self.count)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """Where the top-5 accuracy on images of this kind lies with 95 % confidence."""
        return wilson_interval(int(self.correct5.sum()), self.count)

    def difference(self, other: "Evaluation", top: Literal[1, 5] = 1) -> AccuracyDifference:
        """Compare with the evaluation of another network on the same images, in the same order.

        Most images are as easy for one network as for the other, so that a paired difference is known much better than
        either accuracy.

        Parameters
        ----------
        other : Evaluation
            What is subtracted.
        top : {1, 5}

        Raises
        ------
        ModelError
            If the labels differ, so that these cannot be the same images.

        Examples
        --------
        >>> labels = torch.zeros(50, dtype=torch.long)
        >>> first, second = torch.arange(50) < 48, (torch.arange(50) < 36) | (torch.arange(50) >= 48)
        >>> Evaluation(first, first, labels, 10).difference(Evaluation(second, second, labels, 10))
        AccuracyDifference(+20.0 points, 95 % from +5.7 to +34.0; 12 gained, 2 lost)
        """
        if not torch.equal(self.labels, other.labels):
            raise ModelError(
                f"two evaluations of different images ({self.count} and {other.count}, or in another order) have no "
                "paired difference; evaluate both networks on the same batches"
            )
        mine, theirs = (self.correct1, other.correct1) if top == 1 else (self.correct5, other.correct5)
        both, gained, lost = (int((one & two).sum()) for one, two in ((mine, theirs), (mine, ~theirs), (~mine, theirs)))
        interval = paired_interval(both, gained, lost, self.count - both - gained - lost)
        return AccuracyDifference((gained - lost) / self.count, interval, gained, lost)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the images: shares from 0 to 1 and their intervals."""
        return {
            "count": self.count,
            "classes": self.classes,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "top5_interval": list(self.top5_interval),
            "non_finite": self.non_finite,
        }


def evaluate(module: nn.Module, batches: Batches, *, progress: Callable[[int], None] | None = None) -> Evaluation:
    """Count how many images a network classifies correctly.

    Parameters
    ----------
    module : nn.Module
        A classifier that gives one number for each class: as a tensor (images, classes), as the first of a tuple, or
        under ``logits``, as transformers do. It runs in evaluation mode, without gradients, and comes back as it was.
    batches : iterable
        Batches of preprocessed images with the numbers of their classes, as data loaders give them: ``(images,
        labels)``, or dicts with the images under ``pixel_values`` or ``image`` and the labels under ``labels`` or
        ``label``. They are brought to the device and the floating-point type of the network.
    progress : callable, optional
        Called with the number of images after each batch.

    Returns
    -------
    Evaluation
        On the CPU, image by image.

    Raises
    ------
    ModelError
        If there are no images, a batch has no labels, a label is not a class of the network, or its outputs are not one
        number for each class.

    Notes
    -----
    Of classes with equal outputs the first is taken to be larger, as ``argmax`` does. An image for which any output is
    infinite or not a number counts as wrong.

    Examples
    --------
    >>> images = torch.eye(8)[:, :, None, None].expand(8, 8, 2, 2)
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> evaluate(network, [(images, torch.tensor([0, 1, 2, 3, 4, 0, 0, 0]))])
    Evaluation(top-1 62.5 %, 95 % from 30.6 to 86.3; top-5 100.0 %; 8 images)
    """
    ranks, labels, finite, classes = [], [], [], 0
    with evaluating(module), torch.no_grad():
        for number, (images, wanted) in enumerate(labelled_inputs_of(batches, module), start=1):
            if len(images):
                scores = _scores(run_network(module, images), len(images), number).cpu()
                classes = scores.shape[1]
                _check_labels(wanted, classes, number)
                ranks.append(class_ranks(scores, wanted))
                finite.append(scores.isfinite().all(1))
                labels.append(wanted)
            if progress is not None:
                progress(len(images))
    if not labels:
        raise ModelError("the batches hold no inputs; give at least one")
    rank, usable = torch.cat(ranks), torch.cat(finite)
    return Evaluation(rank < 1, rank < 5, torch.cat(labels), classes, int((~usable).sum()))


def class_ranks(scores: Float[Tensor, "images classes"], labels: Int[Tensor, "images"]) -> Int[Tensor, "images"]:
    """Return how many classes come before the one of each image: 0 if it is the best.

    Of classes with equal outputs the first comes first. An image with an output that is infinite or not a number is
    behind all: its rank is the largest number there is.

    >>> class_ranks(torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0]]), torch.tensor([2, 0]))
    tensor([1, 0])
    """
    own = scores.gather(1, labels[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return torch.where(scores.isfinite().all(1), ranks, torch.iinfo(torch.int64).max)


def _scores(output: Any, images: int, number: int) -> Tensor:
    """Return the outputs for each image and class."""
    found = logits_of(output)
    if found is None:
        raise ModelError(
            f"batch {number}: the network gives a {type(output).__name__} without a tensor of outputs for the classes; "
            "give a classifier that returns a tensor, or one under 'logits'"
        )
    scores = found.flatten(1) if found.ndim > 2 and found.shape[2:].numel() == 1 else found
    if scores.ndim != 2 or len(scores) != images or scores.shape[1] < 2 or not scores.is_floating_point():
        raise ModelError(
            f"batch {number}: the network gives a tensor of shape {tuple(found.shape)} and type "
            f"{str(found.dtype).removeprefix('torch.')} for {images} image{'' if images == 1 else 's'}, "
            "not one number for each of two classes or more; only classifiers can be evaluated"
        )
    return scores


def _check_labels(labels: Tensor, classes: int, number: int) -> None:
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ModelError(
            f"batch {number}: label {int(outside[0])} is none of the {classes} classes of the network, which are "
            f"numbered from 0 to {classes - 1}; check which number stands for which class"
        )
