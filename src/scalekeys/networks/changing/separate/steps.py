"""What is timed: a network, or one layer of it, in a runtime that executes networks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork, export_onnx
from scalekeys.errors import OutputError
from scalekeys.networks.changing.separate.onnx_layer import InvertedResidual
from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.optional import require

Step: TypeAlias = Callable[[], object]
Maker: TypeAlias = Callable[[nn.Module, Tensor], Step]

ONNXRUNTIME = "onnxruntime"


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
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            export_onnx(module, inputs, path, label=path, traced=True)
        except OutputError:  # what cannot be traced may yet be exported
            export_onnx(module, inputs, path, label=path)
        return _session(path, inputs)


def _session(model: Path | bytes, inputs: Tensor) -> Step:
    session, given = OnnxNetwork(model, threads=1), inputs.cpu().contiguous()
    return lambda: session(given)


RUNTIMES: Mapping[str, Maker] = {"torch": _torch, "compile": _compiled, ONNXRUNTIME: _onnxruntime}
"""How a module is made ready to run on some inputs, by the name of a runtime."""


def version_of(runtime: str) -> str:
    """Return the version of what executes."""
    return str(require("onnxruntime", extra="onnx").__version__) if runtime == ONNXRUNTIME else torch.__version__


def layer_steps(runtime: str, layer: Convolution, changed: SeparableConv, inputs: Tensor) -> list[Step]:
    """Return how a layer and its separable form run, and third what of this is not due to them, if there is anything.

    onnxruntime stores maps in blocks of channels, and merges activations into convolutions. So each layer stands
    between two pointwise convolutions and before a clipped activation, as in a network of inverted residuals, and the
    third step is that network without the layer.
    """
    if runtime == ONNXRUNTIME:
        around = InvertedResidual(layer, tuple(inputs.shape))
        return [_session(around.model(one), around.inputs) for one in (layer, changed, None)]
    return [RUNTIMES[runtime](one, inputs) for one in (layer, changed)]
