"""ONNX models of single layers, for onnxruntime: made in a thousandth of the time of an export."""

from typing import Any, TypeAlias

import torch
from torch import Tensor

from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.changing.shrink import by_side
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.optional import require

Layer: TypeAlias = Convolution | SeparableConv

_OPSET, _IR = 17, 8
_NARROWER = 4


class InvertedResidual:
    """ONNX models of a layer between two pointwise convolutions, in float32, with a clipped activation behind it.

    Any padding mode is zeros here.

    `layer`: a depthwise convolution, for its numbers of channels.
    `shape`: of the inputs of the layer.
    """

    def __init__(self, layer: Convolution, shape: tuple[int, ...]) -> None:
        self._helper, self._proto, self._arrays = (
            require(name, extra="onnx") for name in ("onnx.helper", "onnx", "onnx.numpy_helper")
        )
        self._stride = layer.stride
        narrow = max(1, layer.in_channels // _NARROWER)
        ones = (1,) * (len(shape) - 2)
        draw = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(shape[0], narrow, *shape[2:], generator=draw)
        self._widening = torch.randn(layer.in_channels, narrow, *ones, generator=draw)
        self._narrowing = torch.randn(narrow, layer.out_channels, *ones, generator=draw)

    def model(self, layer: Layer | None) -> bytes:
        """Return the model with a layer, or without any: then the second pointwise convolution has its stride."""
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        wide = self._add("Conv", "widened", "inputs", widening=self._widening)
        filtered = wide if layer is None else self._filtered(layer, wide)
        low, high = torch.tensor(0.0), torch.tensor(6.0)
        clipped = self._add("Clip", "clipped", filtered, low=low, high=high)
        narrowing = self._narrowing if layer is not None else self._narrowing[:, : len(self._widening)]
        strides = {"strides": list(self._stride) if layer is None else [1] * len(self._stride)}
        end = self._add("Conv", "narrowed", clipped, attributes=strides, narrowing=narrowing)
        kind, helper = self._proto.TensorProto.FLOAT, self._helper
        told = helper.make_tensor_value_info("inputs", kind, list(self.inputs.shape))
        gives = helper.make_tensor_value_info(end, kind, [None] * self.inputs.ndim)
        graph = helper.make_graph(self._nodes, "layer", [told], [gives], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        return bytes(model.SerializeToString())

    def _filtered(self, layer: Layer, wide: str) -> str:
        total = ""
        for term, chain in enumerate(layer.chains() if isinstance(layer, SeparableConv) else [[layer]]):
            end = wide
            for axis, convolution in enumerate(chain):
                name = f"{term}.{axis}"
                own = {"weight": convolution.weight, "bias": convolution.bias}
                given = {f"{name}.{key}": value for key, value in own.items() if value is not None}
                end = self._add("Conv", name, end, attributes=_attributes(convolution), **given)
            total = end if not total else self._add("Add", f"{term}.sum", total, end)
        return total

    def _add(
        self, kind: str, name: str, *inputs: str, attributes: dict[str, Any] | None = None, **weights: Tensor
    ) -> str:
        """Add an operation with its weights, and return the name of its output."""
        self._weights += [
            self._arrays.from_array(one.detach().cpu().float().numpy(), key) for key, one in weights.items()
        ]
        self._nodes.append(self._helper.make_node(kind, [*inputs, *weights], [name], **(attributes or {})))
        return name


def _attributes(layer: Convolution) -> dict[str, Any]:
    pads = by_side(layer)
    return {
        "group": layer.groups,
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "pads": pads[::2][::-1] + pads[1::2][::-1],
    }
