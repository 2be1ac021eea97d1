"""``nn.Module``: the convolutions of a network in memory."""

from collections.abc import Iterator, Sequence
from itertools import chain, product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from scalekeys.checkpoints.core.checkpoint import (
    Checkpoint,
    DepthwiseLayer,
    is_depthwise_shape,
    layer_of_graph,
    refuse_choice,
)
from scalekeys.checkpoints.core.finding import OTHER_AXES
from scalekeys.checkpoints.core.inventory import info_of
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.sources.used_weight import used_weight
from scalekeys.errors import CheckpointError
from scalekeys.filters import LeftOut

_NO_CONVOLUTION = (
    "it belongs to no nn.Conv2d, so its use is not known; give the state dict of the network to read it by its shape"
)
_BUFFER = "it is a buffer and belongs to no nn.Conv2d, as the filters of a fixed blur"
_OTHER_CONVOLUTIONS = (nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def open_module(
    module: nn.Module, *, weights: str | None = None, label: str | None = None, model: str | None = None
) -> Checkpoint:
    """Open a network: every ``nn.Conv2d`` with one group per input channel and more than one pixel.

    Parameters
    ----------
    module : nn.Module
        Data-parallel and compiled wrappers around it are looked through.
    label, model : str, optional
        What errors and tables call it; its class by default.

    Raises
    ------
    CheckpointError
        If it is a TorchScript module, or a layer has not been initialised, or `weights` is given.
    """
    module = unwrapped(module)
    kind = type(module).__name__
    label = label or f"the module {kind}"
    refuse_choice(label, weights)
    if isinstance(module, torch.jit.ScriptModule):
        raise CheckpointError(
            f"{label}: is a TorchScript module, which hides its layers; give its state_dict() instead"
        )
    layers: list[DepthwiseLayer] = []
    notes: list[str] = []
    for name, layer in _depthwise(module, label):
        key = f"{name}.weight" if name else "weight"
        stride, dilation = (_integers(values) for values in (layer.stride, layer.dilation))
        found, said = layer_of_graph(name or key, key, stride=stride, dilation=dilation)
        layers.append(found)
        notes += said

    def load(key: str) -> Tensor:
        with torch.no_grad():
            return _weight(module, key)

    tensors = {key: info_of(tensor) for key, tensor in module.named_parameters() if not is_lazy(tensor)}
    tensors |= {layer.key: info_of(load(layer.key)) for layer in layers}
    return Checkpoint(
        label,
        model or kind,
        tensors,
        tuple(layers),
        load,
        notes=tuple(notes),
        left_out=(*_other_depthwise(module), *_used_elsewhere(module)),
        copying=state_dict_copying(label, module.state_dict),
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside data-parallel and compiled wrappers."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, parallel):
            module = module.module
        elif "_orig_mod" in module._modules and len(module._modules) == 1:  # what torch.compile returns
            module = module.get_submodule("_orig_mod")
        else:
            return module


def _depthwise(module: nn.Module, label: str) -> Iterator[tuple[str, nn.Conv2d]]:
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.groups > 1 and _is_lazy(layer):
            raise CheckpointError(
                f"{label}: layer {name or 'weight'!r} is lazy and has no weights yet; run the network once"
            )
        if layer.groups == layer.in_channels > 1 and prod(layer.kernel_size) > 1:
            yield name, layer


def _other_depthwise(module: nn.Module) -> Iterator[LeftOut]:
    for name, layer in module.named_modules():
        if isinstance(layer, _OTHER_CONVOLUTIONS) and layer.groups == layer.in_channels > 1 < prod(layer.kernel_size):
            shape = _shape_of_weight(layer)
            reason = OTHER_AXES.get(len(shape), "it is a transposed convolution")
            yield LeftOut(name or "weight", shape, reason)


def _is_lazy(layer: nn.Module) -> bool:
    """Tell whether a layer waits for its first input, without asking for a weight that would be computed."""
    weight = layer._parameters.get("weight")
    return weight is not None and bool(is_lazy(weight))


def _used_elsewhere(module: nn.Module) -> Iterator[LeftOut]:
    """Yield what has the shape of a depthwise weight and belongs to no convolution of torch."""
    for owner, layer in module.named_modules():
        if isinstance(layer, nn.modules.conv._ConvNd | ParametrizationList):
            continue
        parameters, buffers = layer.named_parameters(recurse=False), layer.named_buffers(recurse=False)
        for (name, tensor), reason in chain(product(parameters, (_NO_CONVOLUTION,)), product(buffers, (_BUFFER,))):
            if not is_lazy(tensor) and tensor.is_floating_point() and is_depthwise_shape(tuple(tensor.shape)):
                yield LeftOut(f"{owner}.{name}".removeprefix("."), tuple(tensor.shape), reason)


def _shape_of_weight(layer: nn.modules.conv._ConvNd) -> tuple[int, ...]:
    """Return the shape of a weight that need not be computed for it."""
    sides = (layer.out_channels, layer.in_channels // layer.groups)
    if layer.transposed:
        sides = (layer.in_channels, layer.out_channels // layer.groups)
    return (*sides, *layer.kernel_size)


def _integers(values: int | Sequence[int]) -> tuple[int, ...]:
    return (values,) if isinstance(values, int) else tuple(values)


def _weight(module: nn.Module, key: str) -> Tensor:
    owner, _, name = key.rpartition(".")
    layer = module.get_submodule(owner)
    if name == "weight":
        return used_weight(layer)
    weight: Tensor = getattr(layer, name)
    return weight
