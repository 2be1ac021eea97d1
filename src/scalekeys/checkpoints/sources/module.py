"""``nn.Module``: the convolutions of a network in memory."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first
from scalekeys.checkpoints.core.checkpoint import (
    Checkpoint,
    ConvolutionLayer,
    is_depthwise_shape,
    layer_of_graph,
    refuse_choice,
)
from scalekeys.checkpoints.core.finding import OTHER_SHAPE, is_called_depthwise
from scalekeys.checkpoints.core.inventory import info_of
from scalekeys.checkpoints.core.kinds import GROUPED, ORDINARY, PREFERRED, Kinds, Wanted, kind_of, not_asked
from scalekeys.checkpoints.core.naming import layer_names
from scalekeys.checkpoints.core.pitch import Pitch
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.sources.module_pitch import pitches_of
from scalekeys.checkpoints.sources.used_weight import used_weight
from scalekeys.errors import CheckpointError
from scalekeys.filters import LeftOut

_NO_CONVOLUTION = (
    "it belongs to no convolution of torch, so its use is not known; give the state dict of the network to read it by "
    "its shape"
)
_BUFFER = "it is a buffer and belongs to no convolution of torch, as the filters of a fixed blur"
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def open_module(
    module: nn.Module, wanted: Wanted = PREFERRED, *, label: str | None = None, model: str | None = None
) -> Checkpoint:
    """Open a network: its convolutions of one, two and three axes with kernels of more than one value.

    `module`: data-parallel and compiled wrappers around it are looked through.
    `label`, `model`: what errors and tables call it; its class by default.
    Raises CheckpointError if it is a TorchScript module, or a layer has not been initialised, or one of
    several sets of weights is wanted.
    """
    module = unwrapped(module)
    name = type(module).__name__
    label = label or f"the module {name}"
    refuse_choice(label, wanted.weights)
    if isinstance(module, torch.jit.ScriptModule):
        raise CheckpointError(
            f"{label}: is a TorchScript module, which hides its layers; give its state_dict() instead"
        )
    layers: list[ConvolutionLayer] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    ordinary = 0
    convolutions = dict(_convolutions(module, wanted.kinds, label))
    names = layer_names({**convolutions, **dict(module.named_parameters()), **dict(module.named_buffers())})
    for key, layer in convolutions.items():
        kind = kind_of(groups=layer.groups, inputs=layer.in_channels // layer.groups, transposed=layer.transposed)
        if kind in wanted.kinds:
            found, said = _layer(names[key], key, layer, kind)
            layers.append(found)
            notes += said
        elif kind == GROUPED:
            reason = not_asked(layer.groups, transposed=layer.transposed)
            left_out.append(LeftOut(names[key], _shape_of_weight(layer), reason))
        elif kind == ORDINARY:
            ordinary += 1

    def load(key: str) -> Tensor:
        owner, _, name = key.rpartition(".")
        layer = module.get_submodule(owner)
        with torch.no_grad():
            weight: Tensor = used_weight(layer) if name == "weight" else getattr(layer, name)
        return weight

    tensors = {key: info_of(tensor) for key, tensor in module.named_parameters() if not is_lazy(tensor)}
    tensors |= {layer.key: info_of(load(layer.key)) for layer in layers}
    return Checkpoint(
        label,
        model or name,
        tensors,
        tuple(layers),
        load,
        notes=tuple(notes),
        left_out=(*left_out, *_used_elsewhere(module)),
        copying=state_dict_copying(label, module.state_dict),
        kinds=wanted.kinds,
        ordinary=ordinary,
        pitches=partial(_pitches, module, [layer.key for layer in layers]),
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside data-parallel and compiled wrappers; raises CheckpointError if it is no network."""
    if not isinstance(module, nn.Module):
        raise CheckpointError(f"expected a network (torch.nn.Module), got an object of type {type(module).__name__}")
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, parallel):
            module = module.module
        elif "_orig_mod" in module._modules and len(module._modules) == 1:  # what torch.compile returns
            module = module.get_submodule("_orig_mod")
        else:
            return module


def _convolutions(module: nn.Module, kinds: Kinds, label: str) -> Iterator[tuple[str, nn.modules.conv._ConvNd]]:
    """Yield the convolutions with kernels of more than one value, by the keys of their weights."""
    for name, layer in module.named_modules():
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        if (layer.groups > 1 or ORDINARY in kinds) and _is_lazy(layer):
            raise CheckpointError(
                f"{label}: layer {name or 'weight'!r} is lazy and has no weights yet; run the network once"
            )
        if prod(layer.kernel_size) > 1:
            yield f"{name}.weight".removeprefix("."), layer


def _layer(name: str, key: str, layer: nn.modules.conv._ConvNd, kind: str) -> tuple[ConvolutionLayer, tuple[str, ...]]:
    return layer_of_graph(
        name,
        key,
        stride=_integers(layer.stride),
        dilation=_integers(layer.dilation),
        arrangement=inputs_first(layer.groups) if layer.transposed else outputs_first,
        kind=kind,
    )


def _pitches(module: nn.Module, keys: Sequence[str]) -> dict[str, Pitch | None]:
    owners = {key.rpartition(".")[0]: key for key in keys}
    modules = dict(module.named_modules())
    convolutions = {owner: one for owner in owners if isinstance(one := modules[owner], nn.modules.conv._ConvNd)}
    found = pitches_of(module, convolutions)
    return {key: found[owner] for owner, key in owners.items()}


def _is_lazy(layer: nn.Module) -> bool:
    """Tell whether a layer waits for its first input, without asking for a weight that would be computed."""
    weight = layer._parameters.get("weight")
    return weight is not None and bool(is_lazy(weight))


def _used_elsewhere(module: nn.Module) -> Iterator[LeftOut]:
    """Yield what has the shape of a depthwise weight, or is called one, and belongs to no convolution of torch."""
    for owner, layer in module.named_modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear | ParametrizationList):
            continue
        parameters, buffers = layer.named_parameters(recurse=False), layer.named_buffers(recurse=False)
        for (name, tensor), reason in chain(product(parameters, (_NO_CONVOLUTION,)), product(buffers, (_BUFFER,))):
            if is_lazy(tensor) or not tensor.is_floating_point():
                continue
            key, shape = f"{owner}.{name}".removeprefix("."), tuple(tensor.shape)
            if is_depthwise_shape(shape):
                yield LeftOut(key, shape, reason)
            elif is_called_depthwise(key, shape):
                yield LeftOut(key, shape, OTHER_SHAPE)


def _shape_of_weight(layer: nn.modules.conv._ConvNd) -> tuple[int, ...]:
    """Return the shape of a weight that need not be computed for it."""
    sides = (layer.out_channels, layer.in_channels // layer.groups)
    if layer.transposed:
        sides = (layer.in_channels, layer.out_channels // layer.groups)
    return (*sides, *layer.kernel_size)


def _integers(values: int | Sequence[int]) -> tuple[int, ...]:
    return (values,) if isinstance(values, int) else tuple(values)
