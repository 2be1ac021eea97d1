"""Batches of images, and of images with labels, in any form that data loaders give; and networks that look at them."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.shapes import as_float_tensor

Batch: TypeAlias = Tensor | np.ndarray | Sequence[Any] | Mapping[str, Any]
Batches: TypeAlias = Batch | Iterable[Batch]
Labelled: TypeAlias = tuple[Tensor, Int[Tensor, "images"]]

IMAGE_KEYS = ("pixel_values", "image")
LABEL_KEYS = ("labels", "label")

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LABELLED = "(images, labels), or a dict with the labels under 'labels' or 'label'"


def images_of(batches: Batches, network: nn.Module) -> Iterator[Tensor]:
    """Give the images of each batch on the device and in the floating-point type of a network.

    Parameters
    ----------
    batches : iterable
        Tensors; tuples or lists whose first element is taken; dicts with the images under ``pixel_values`` or
        ``image``. A single tensor, array or dict is one batch. Integers, such as bytes, keep their type.
    network : nn.Module

    Raises
    ------
    ModelError
        If there are no batches, or one holds no images.
    """
    for number, batch in _numbered(batches):
        yield _brought(_images(batch, number), network)


def labelled_images_of(batches: Batches, network: nn.Module) -> Iterator[Labelled]:
    """Give the images of each batch as :func:`images_of` does, with their labels, shape (images,), on the CPU.

    A single image with a single number for its label is a batch of one, so that a data set need not be batched.

    Raises
    ------
    ModelError
        If there are no batches, or one holds no images, or no labels, or not one whole number for each image.
    """
    for number, batch in _numbered(batches):
        images, labels = _images(batch, number), _labels(batch, number)
        if labels.ndim == 0:
            images, labels = images if images.ndim > 3 else images[None], labels[None]
        if labels.ndim != 1 or len(labels) != len(images):
            raise ModelError(
                f"batch {number}: has labels of shape {tuple(labels.shape)} for images of shape "
                f"{tuple(images.shape)}; give the number of one class for each image"
            )
        yield _brought(images, network), labels


def logits_of(output: Any) -> Tensor | None:
    """Return the tensor that a classifier gives: itself, the first of several, or that under ``logits``."""
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, Sequence) and len(output):
        found = output[0]
    return found if isinstance(found, Tensor) else None


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode, and give each of its modules its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def uncompiled() -> AbstractContextManager[Any]:
    """Let compiled parts run as they are written: what is compiled cannot be watched."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _numbered(batches: Batches) -> Iterator[tuple[int, Batch]]:
    number = 0
    listed = [batches] if isinstance(batches, Tensor | np.ndarray | Mapping) else batches
    for number, batch in enumerate(listed, start=1):
        yield number, batch
    if not number:
        raise ModelError("batches is empty, or a generator that was used before; give at least one batch of images")


def _brought(images: Tensor, network: nn.Module) -> Tensor:
    """Bring images to where a network is; one without floating-point numbers takes them as they are."""
    like = next((one for one in chain(network.parameters(), network.buffers()) if one.is_floating_point()), images)
    return images.to(like.device, like.dtype if images.is_floating_point() else None)


def _images(batch: Batch, number: int) -> Tensor:
    images: Any = batch
    if isinstance(batch, Mapping):
        images = next((batch[key] for key in IMAGE_KEYS if key in batch), None)
    elif isinstance(batch, Sequence) and len(batch):
        images = batch[0]
    if isinstance(images, np.ndarray):
        images = as_float_tensor(images)
    if not isinstance(images, Tensor):
        raise ModelError(
            f"batch {number}: expected a tensor of images, a tuple or list that starts with one, or a dict with one "
            f"under 'pixel_values' or 'image', got {_described(batch)}"
        )
    return images


def _labels(batch: Batch, number: int) -> Tensor:
    labels: Any = None
    if isinstance(batch, Mapping):
        labels = next((batch[key] for key in LABEL_KEYS if key in batch), None)
    elif isinstance(batch, Sequence) and len(batch) > 1:
        labels = batch[1]
    if labels is None:
        raise ModelError(
            f"batch {number}: has images without labels; give a list of batches {_LABELLED}; got {_described(batch)}"
        )
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise ModelError(
            f"batch {number}: its labels are no numbers but {type(labels).__name__}; give the number of one class for "
            "each image"
        ) from None
    if found.dtype not in _WHOLE:
        raise ModelError(f"batch {number}: labels are numbers of classes, whole ones, got {found.dtype}")
    return found.detach().to("cpu", torch.int64)


def _described(batch: Batch) -> str:
    return f"a dict of {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
