"""Batches of inputs, and of inputs with labels, in any form that data loaders give; and networks that look at them."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils import checkpoint

from scalekeys.errors import ModelError, ScaleKeysError
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.optional import in_short
from scalekeys.shapes import as_float_tensor

Batch: TypeAlias = Tensor | np.ndarray | Sequence[Any] | Mapping[str, Any]
Batches: TypeAlias = Batch | Iterable[Batch]
Labelled: TypeAlias = tuple[Tensor, Int[Tensor, "inputs"]]

INPUT_KEYS = ("pixel_values", "image", "input_values", "input_features", "input_ids")
"""Under which names a batch holds images or volumes, sound, spectra, and tokens."""
LABEL_KEYS = ("labels", "label")

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LABELLED = "(inputs, labels), or a dict with the labels under 'labels' or 'label'"


def inputs_of(batches: Batches, network: nn.Module) -> Iterator[Tensor]:
    """Give the inputs of each batch on the device and in the floating-point type of a network.

    `batches`: tensors; tuples or lists whose first element is taken; dicts with the inputs under one of
    :data:`INPUT_KEYS`. A single tensor, array or dict is one batch. Integers, such as bytes and tokens, keep their
    type.
    Raises ModelError if there are no batches, one holds no inputs, or the network has no values.
    """
    for number, batch in _numbered(batches):
        yield _brought(_inputs(batch, number), network)


def labelled_inputs_of(batches: Batches, network: nn.Module) -> Iterator[Labelled]:
    """Give the inputs of each batch as :func:`inputs_of` does, with their labels, shape (inputs,), on the CPU.

    A single input with a single number for its label is a batch of one, so that a data set need not be batched. The
    first convolution of the network tells how many dimensions a batch has: two more than its kernel has axes.

    Raises ModelError if there are no batches, or one holds no inputs, or no labels, or not one whole number for each
    input.
    """
    dimensions = 2 + next((len(one.kernel_size) for one in network.modules() if isinstance(one, Convolution)), 2)
    for number, batch in _numbered(batches):
        inputs, labels = _inputs(batch, number), _labels(batch, number)
        if labels.ndim == 0:
            inputs, labels = inputs if inputs.ndim >= dimensions else inputs[None], labels[None]
        if labels.ndim != 1 or len(labels) != len(inputs):
            raise ModelError(
                f"batch {number}: has labels of shape {tuple(labels.shape)} for inputs of shape "
                f"{tuple(inputs.shape)}; give the number of one class for each input"
            )
        yield _brought(inputs, network), labels


def run_network(network: nn.Module, inputs: Tensor) -> Any:
    """Return what a network gives for a batch of inputs.

    Raises ModelError if the network does not run on it.
    """
    try:
        return network(inputs)
    except ScaleKeysError:
        raise
    except Exception as error:  # whatever a network raises
        raise ModelError(
            f"the network {type(network).__name__} does not run on an input of shape {tuple(inputs.shape)} "
            f"({in_short(error)}); give inputs that it takes, or fewer at once"
        ) from error


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
def evaluating(network: nn.Module, *, copies: bool = True) -> Iterator[None]:
    """Keep a network in evaluation mode, and give each of its modules its own mode back.

    With `copies` a network that changes its inputs in place, as with ``x.div_(255)``, changes copies of them.
    """
    modes = [(module, module.training) for module in network.modules()]
    handle = network.register_forward_pre_hook(_with_copies) if copies else None
    network.eval()
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
        for module, training in modes:
            module.training = training


def _with_copies(_network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.clone() if isinstance(one, Tensor) else one for one in inputs)


@contextmanager
def with_gradients() -> Iterator[None]:
    """Let gradients be computed where the caller has switched them off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def uncompiled() -> AbstractContextManager[Any]:
    """Let compiled parts run as they are written: what is compiled cannot be watched."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def uncheckpointed() -> Iterator[None]:
    """Let checkpointed parts keep their maps: a part that is run again for its gradients is no longer watched then."""
    stand_ins = {"CheckpointFunction": _Called, "_checkpoint_without_reentrant_generator": _called_once}
    kept = {name: getattr(checkpoint, name) for name in stand_ins}
    try:
        for name, one in stand_ins.items():
            setattr(checkpoint, name, one)
        yield
    finally:
        for name, one in kept.items():
            setattr(checkpoint, name, one)


def _called_once(*_: object, **__: object) -> Iterator[None]:
    """Stand for the generator of PyTorch that goes around a part while that runs."""
    yield


class _Called:
    """Stands for the function of PyTorch that runs a part without its gradients."""

    @staticmethod
    def apply(function: Callable[..., Any], _keeps_random_state: bool, *args: Any) -> Any:
        return function(*args)


def as_batches(batches: Batches) -> Iterable[Batch]:
    """Take a tensor, array or dict for a list of one; raises ModelError for what holds no batches."""
    if isinstance(batches, Tensor | np.ndarray | Mapping):
        return [batches]
    if not any(hasattr(type(batches), name) for name in ("__iter__", "__getitem__")):
        raise ModelError(
            f"expected batches of inputs, such as a tensor, a list of tensors or a data loader, got "
            f"{type(batches).__name__}"
        )
    return batches


def _numbered(batches: Batches) -> Iterator[tuple[int, Batch]]:
    number = 0
    for number, batch in enumerate(as_batches(batches), start=1):
        yield number, batch
    if not number:
        raise ModelError("batches is empty, or a generator that was used before; give at least one batch of inputs")


def _brought(inputs: Tensor, network: nn.Module) -> Tensor:
    """Bring inputs to where a network is; one without floating-point numbers takes them as they are."""
    like = next((one for one in chain(network.parameters(), network.buffers()) if one.is_floating_point()), inputs)
    if like.is_meta:
        raise ModelError(
            f"the network {type(network).__name__}: has no values (it is on the meta device); load its weights first"
        )
    unrecorded = inputs.is_inference() and not torch.is_inference_mode_enabled()
    own = inputs.clone() if unrecorded else inputs  # tensors made in inference mode cannot be saved for gradients
    return own.to(like.device, like.dtype if inputs.is_floating_point() else None)


def _part(batch: Batch, keys: Sequence[str], place: int) -> Any:
    """Return what stands under the first of some keys, or at a place; None where there is no such thing."""
    if isinstance(batch, Mapping):
        return next((batch[key] for key in keys if key in batch), None)
    return batch[place] if isinstance(batch, Sequence) and len(batch) > place else None


def _inputs(batch: Batch, number: int) -> Tensor:
    inputs = batch if isinstance(batch, Tensor | np.ndarray) else _part(batch, INPUT_KEYS, 0)
    if isinstance(inputs, np.ndarray):
        inputs = torch.tensor(inputs) if inputs.dtype.kind in "iu" else as_float_tensor(inputs)
    if not isinstance(inputs, Tensor):
        raise ModelError(
            f"batch {number}: expected a tensor of inputs, a tuple or list that starts with one, or a dict with one "
            f"under {' or '.join(map(repr, INPUT_KEYS))}, got {_described(batch)}"
        )
    return inputs


def _labels(batch: Batch, number: int) -> Tensor:
    labels = _part(batch, LABEL_KEYS, 1)
    if labels is None:
        raise ModelError(
            f"batch {number}: has inputs without labels; give a list of batches {_LABELLED}; got {_described(batch)}"
        )
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise ModelError(
            f"batch {number}: its labels are no numbers but {type(labels).__name__}; give the number of one class for "
            "each input"
        ) from None
    if found.dtype not in _WHOLE:
        raise ModelError(f"batch {number}: labels are numbers of classes, whole ones, got {found.dtype}")
    return found.detach().to("cpu", torch.int64)


def _described(batch: Batch) -> str:
    return f"a dict of {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
