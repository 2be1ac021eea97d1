"""Which weights of a Keras model are of convolutions: its configuration says so, or else the names of layers do."""

import re
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import has_sides, is_depthwise_shape
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import DEPTHWISE, GROUPED, ORDINARY, kind_of, not_asked
from scalekeys.checkpoints.core.naming import last_name
from scalekeys.checkpoints.formats.keras_model.keras_config import LayerConfig
from scalekeys.checkpoints.formats.keras_model.keras_tree import VARIABLES, StoredWeight

_DEPTHWISE_CLASS = re.compile(r"(depthwise|separable)_?conv(olution)?_?[123]d", re.IGNORECASE)
_CONVOLUTION_CLASS = re.compile(r"conv(olution)?_?[123]d", re.IGNORECASE)
_GIVEN_BY_KERAS = re.compile(r"conv([123])d(_transpose)?(_\d+)?")
_TRANSPOSED_CLASS = re.compile(r"transpose|deconv", re.IGNORECASE)
_DEPTHWISE_NAME = re.compile(r"depthwise|separable_?conv|dw_?conv|depth_?conv|(^|[^a-z])dw([^a-z]|$)", re.IGNORECASE)
MAIN_KERNELS = ("kernel", "W", "0")
BIASES = ("bias", "b", "1")
"""What the first two variables of a convolution are called."""

_ONE_CHANNEL = "its input has one channel, so that it is an ordinary convolution"
_OF_TORCH = (
    "its name is one of PyTorch and the file is none of Keras, so that the order of its axes is not known; save the "
    "weights as .safetensors"
)
_GIVE_MODEL = "give the whole model with its configuration"


@dataclass(frozen=True)
class Role:
    """What a weight is."""

    kind: str = ""
    """Of its convolution; empty for what is none, or may be of several kinds."""
    reason: str = ""
    """Why it is left out where it is not read; empty where it is then not spoken of."""
    fault: str = ""
    """Why it cannot be read at all; empty where it can."""
    is_per_channel: bool = False
    """Whether its axes are (*sides, channels, multiplier) and not (*sides, inputs of a group, outputs)."""
    is_transposed: bool = False
    """Whether they are (*sides, outputs, inputs)."""
    otherwise: "Role | None" = None
    """What it is unless the weights around it say that it is depthwise; None where they are not asked."""


_UNCLEAR = Role(reason=f"it can be depthwise, or the convolution of a one-channel input; {_GIVE_MODEL}")
_MAY_BE_GROUPED = Role(DEPTHWISE, otherwise=_UNCLEAR)
_PER_CHANNEL = Role(DEPTHWISE, is_per_channel=True)
_ORDINARY = Role(ORDINARY)
_TRANSPOSED = Role(ORDINARY, is_transposed=True)


def role_of(weight: StoredWeight, config: LayerConfig | None, version: int, bias: tuple[int, ...] = ()) -> Role:
    """Tell what a weight is.

    `config`: that of its layer, where the file has one.
    `version`: of the Keras that has written the file, 0 where that is not known.
    `bias`: the shape of the bias of its layer, where the layer has one.
    """
    sides = weight.shape[:-2]
    if weight.fault and not weight.shape:
        return Role(reason=weight.fault)
    if version == 0 and _is_named_by_torch(weight):
        kind = DEPTHWISE if is_depthwise_shape(weight.shape) else ORDINARY if has_sides(weight.shape) else ""
        return Role(kind, fault=_OF_TORCH if kind else "")
    if len(weight.shape) not in (3, 4, 5) or prod(sides) <= 1 or weight.variable.endswith("pointwise_kernel"):
        return Role()
    role = _kind(weight, config, version, bias)
    if role.is_per_channel and weight.shape[-2] == 1:
        role = replace(role, kind=ORDINARY, reason=_ONE_CHANNEL)
    wrong_type = "" if weight.dtype.startswith(("float", "bfloat")) else f"its weight holds {weight.dtype}"
    return replace(role, fault=weight.fault or wrong_type)


def is_called(weight: StoredWeight, names: tuple[str, ...]) -> bool:
    """Tell whether a variable has one of some names, before which Keras 1 puts that of the layer.

    >>> variables = ("kernel", "recurrent_kernel", "conv_1_W")
    >>> [is_called(StoredWeight("", ("conv_1",), name, (), "", ""), MAIN_KERNELS) for name in variables]
    [True, False, True]
    """
    last = last_name(weight.variable)
    return last.removeprefix("".join(f"{name}_" for name in weight.layer[-1:])) in names


def _is_named_by_torch(weight: StoredWeight) -> bool:
    """Tell whether a weight stands where no version of Keras puts one, under the name that PyTorch gives it."""
    is_of_keras = weight.names or VARIABLES in weight.key.split("/")
    return not is_of_keras and weight.variable.rpartition(".")[2] == "weight"


def _kind(weight: StoredWeight, config: LayerConfig | None, version: int, bias: tuple[int, ...]) -> Role:
    """Tell what a weight with the shape of a kernel is, whatever its type."""
    if weight.variable.endswith("depthwise_kernel"):
        return _PER_CHANNEL
    if weight.variable.isdecimal() or weight.variable.endswith(MAIN_KERNELS):
        if config and _CONVOLUTION_CLASS.search(config.class_name):
            return _by_configuration(weight, config)
        if 0 < version < 3 and weight.names:  # whose depthwise kernels are called so
            return _ordinary_or_grouped(weight)
        if _has_bias_per_channel(weight, bias):
            return _PER_CHANNEL if weight.shape[-1] > 1 else replace(_PER_CHANNEL, otherwise=_by_names(weight))
        return _by_names(weight)
    return _by_name(weight)


def _by_names(weight: StoredWeight) -> Role:
    """Judge the main kernel of a layer by the names of the layer and by its shape."""
    for name in (*weight.layer[-1:], weight.title):  # which are classes, unless the user has given a name
        if _DEPTHWISE_CLASS.search(name):
            return _PER_CHANNEL if weight.variable in MAIN_KERNELS else Role()
        given = _GIVEN_BY_KERAS.fullmatch(name)
        if given and int(given[1]) == len(weight.shape) - 2:
            return _TRANSPOSED if _TRANSPOSED_CLASS.search(name) else _ordinary_or_grouped(weight)
    return _by_name(weight)


def _has_bias_per_channel(weight: StoredWeight, bias: tuple[int, ...]) -> bool:
    """Tell whether a kernel (*sides, channels, multiplier) is depthwise by its bias, which has a value for each output.

    An ordinary convolution has as many values as its last axis, and a transposed one as many as the axis before it, so
    that a kernel whose last axis is 1 can also be that of a transposed convolution of one channel.
    """
    channels, last = weight.shape[-2:]
    is_transposed = bool(_TRANSPOSED_CLASS.search(weight.label.rpartition("/")[2]))
    return channels > 1 and bias == (channels * last,) and not is_transposed


def _by_configuration(weight: StoredWeight, config: LayerConfig) -> Role:
    if _DEPTHWISE_CLASS.search(config.class_name):
        return _PER_CHANNEL if weight.variable in MAIN_KERNELS else Role()
    if _TRANSPOSED_CLASS.search(config.class_name):
        return _TRANSPOSED
    kind = kind_of(groups=config.groups, inputs=weight.shape[-2])
    return Role(kind, not_asked(config.groups) if kind == GROUPED else "")


def _ordinary_or_grouped(weight: StoredWeight) -> Role:
    """Judge a kernel of an ordinary convolution whose number of groups is not known."""
    is_convolution = bool(_CONVOLUTION_CLASS.search(weight.label))
    if is_convolution and _TRANSPOSED_CLASS.search(weight.label.rpartition("/")[2]):
        return _TRANSPOSED
    if weight.shape[-2] > 1 or weight.shape[-1] == 1:
        return _ORDINARY if is_convolution or len(weight.shape) > 3 else Role()
    if _names_depthwise(weight):
        return Role(DEPTHWISE)
    if len(weight.shape) == 3 and not is_convolution:
        return Role()
    return _MAY_BE_GROUPED


def _by_name(weight: StoredWeight) -> Role:
    """Judge a kernel of which nothing is known but its name and its shape."""
    channels, last = weight.shape[-2:]
    if channels == 1:
        return _ordinary_or_grouped(weight)
    named = _names_depthwise(weight)
    if named and last < channels:
        return _PER_CHANNEL
    if named or (last == 1 and len(weight.shape) > 3):
        return Role(reason=f"it can be depthwise or an ordinary convolution; {_GIVE_MODEL}")
    is_main = weight.variable.isdecimal() or weight.variable.endswith(MAIN_KERNELS)
    return _ordinary_or_grouped(weight) if is_main else Role()


def _names_depthwise(weight: StoredWeight) -> bool:
    """Tell whether the name of a layer, or that of its class, says that it is depthwise."""
    own = (weight.title, weight.label.rpartition("/")[2], *weight.layer[-1:])
    return any(_DEPTHWISE_NAME.search(name) or _DEPTHWISE_CLASS.search(name) for name in own)


def in_torch_order(values: Tensor, role: Role) -> Tensor:
    """Return a weight with torch's order of axes; filter m of channel c is output channel c * multiplier + m.

    >>> import torch
    >>> in_torch_order(torch.arange(6).view(1, 1, 3, 2), Role("depthwise", is_per_channel=True)).flatten()
    tensor([0, 1, 2, 3, 4, 5])
    """
    axes = range(values.ndim)
    if role.is_per_channel:
        return values.permute(-2, -1, *axes[:-2]).flatten(0, 1).unsqueeze(1)
    return values.permute(-1, -2, *axes[:-2]) if values.ndim > 1 else values


def info_of(weight: StoredWeight, role: Role) -> TensorInfo:
    """Return the shape that a weight has in torch's order of axes, and its type."""
    shape = in_torch_order(torch.empty(weight.shape, device="meta"), role).shape
    return TensorInfo(tuple(shape), weight.dtype)
