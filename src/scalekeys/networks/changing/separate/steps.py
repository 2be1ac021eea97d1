"""What is timed: a network, or one layer of it, in a runtime that executes networks."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork, export_onnx
from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.changing.shrink import by_side
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.optional import require

Layer: TypeAlias = Convolution | SeparableConv
Step: TypeAlias = Callable[[], object]
Maker: TypeAlias = Callable[[nn.Module, Tensor], Step]

ONNXRUNTIME = "onnxruntime"
_OPSET, _IR = 17, 8


def _torch(module: nn.Module, inputs: Tensor) -> Step:
    def step() -> None:
        with torch.inference_mode():
            module(inputs)
        if inputs.is_cuda:
            torch.cuda.synchronize()

    return step


def _compiled(module: nn.Module, inputs: Tensor) -> Step:
    step = _torch(torch.compile(module, dynamic=False), inputs)  # type: ignore[arg-type]

    def within_limits() -> None:
        with torch._dynamo.config.patch(recompile_limit=10_000, accumulated_recompile_limit=10_000):
            step()

    within_limits()
    return step


def _onnxruntime(module: nn.Module, inputs: Tensor) -> Step:
    if isinstance(module, Layer):
        session = OnnxNetwork(_graph_of_layer(module, inputs), threads=1)
    else:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(module, inputs, path, label=path)
            session = OnnxNetwork(path, threads=1)
    inputs = inputs.cpu().contiguous()
    return lambda: session(inputs)


RUNTIMES: Mapping[str, Maker] = {"torch": _torch, "compile": _compiled, ONNXRUNTIME: _onnxruntime}
"""How a module is made ready to run on some inputs, by the name of a runtime."""


def version_of(runtime: str) -> str:
    """Return the version of what executes."""
    return str(require("onnxruntime", extra="onnx").__version__) if runtime == ONNXRUNTIME else torch.__version__


def _graph_of_layer(layer: Layer, inputs: Tensor) -> bytes:
    """Return an ONNX model of one layer in float32, which takes a thousandth of the time of an export.

    Any padding mode is zeros here.
    """
    helper, proto, arrays = (require(name, extra="onnx") for name in ("onnx.helper", "onnx", "onnx.numpy_helper"))
    chains = layer.chains() if isinstance(layer, SeparableConv) else [[layer]]
    nodes, weights, ends = [], [], list[str]()
    for term, chain in enumerate(chains):
        end = "inputs"
        for axis, convolution in enumerate(chain):
            name = f"{term}.{axis}"
            own = {"weight": convolution.weight, "bias": convolution.bias}
            given = {f"{name}.{key}": value for key, value in own.items() if value is not None}
            weights += [arrays.from_array(one.detach().cpu().float().numpy(), key) for key, one in given.items()]
            nodes.append(helper.make_node("Conv", [end, *given], [name], **_attributes(convolution)))
            end = name
        if ends:
            nodes.append(helper.make_node("Add", [ends[-1], end], [f"{term}.sum"]))
            end = f"{term}.sum"
        ends.append(end)
    kind = proto.TensorProto.FLOAT
    told = helper.make_tensor_value_info("inputs", kind, list(inputs.shape))
    gives = helper.make_tensor_value_info(ends[-1], kind, [None] * inputs.ndim)
    graph = helper.make_graph(nodes, "layer", [told], [gives], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return bytes(model.SerializeToString())


def _attributes(layer: Convolution) -> dict[str, Any]:
    pads = by_side(layer)
    return {
        "group": layer.groups,
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "pads": pads[::2][::-1] + pads[1::2][::-1],
    }


def copied_for(layer: Layer) -> Layer:
    """Return a copy of a layer that runs as in evaluation, without what is attached to it."""
    copy = deepcopy(layer).eval()
    for one in copy.modules():
        one._forward_hooks.clear()
        one._forward_pre_hooks.clear()
    return copy
