"""A network in memory as an ONNX file, and an ONNX file as a network."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn

from scalekeys.errors import OutputError
from scalekeys.optional import in_short, require

_GRAPH_LOG = "_jit_onnx_log"  # prints the whole graph of a network that cannot be traced to standard output


def export_onnx(network: nn.Module, example: Tensor, path: Path, *, label: Path, traced: bool = False) -> None:
    """Write a network in evaluation mode to an ONNX file, for batches of any size where its operations allow that.

    `example`: a batch of inputs.
    `path`: the file to write.
    `label`: what errors call the file.
    `traced`: for batches of the size of the example alone, by following what the network does with it: much faster.
    Raises MissingExtraError if onnx or onnxscript is not installed; OutputError if torch cannot export the network.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx")
    options = {"dynamo": False} if traced else {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim.AUTO},)}
    try:
        with _quiet():
            torch.onnx.export(network.eval(), (example,), path, verbose=False, external_data=False, **options)
    except Exception as error:  # whatever the exporter raises
        raise OutputError(
            f"{label}: torch.onnx.export cannot write the network {type(network).__name__} "
            f"({in_short(error.__cause__ or error)}); write a state dict instead, to .pth or .safetensors"
        ) from error


class OnnxNetwork(nn.Module):
    """An ONNX model with one input, run by onnxruntime.

    `model`: the file, or what it holds.
    `threads`: by default as many as onnxruntime takes.
    Raises MissingExtraError if onnxruntime is not installed; OutputError if onnxruntime does not run such a model.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 0) -> None:
        super().__init__()
        runtime = require("onnxruntime", extra="onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        content = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._session = runtime.InferenceSession(content, options)
        except Exception as error:  # whatever onnxruntime raises
            raise OutputError(
                f"onnxruntime cannot run the network ({in_short(error)}); give the network in float32, or another "
                "runtime"
            ) from error
        self._input = self._session.get_inputs()[0].name

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Return the outputs for a batch."""
        return [torch.from_numpy(output) for output in self._session.run(None, {self._input: inputs.cpu().numpy()})]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says to its developers from users."""
    before, graph_log = logging.root.manager.disable, vars(torch._C).get(_GRAPH_LOG)
    logging.disable(logging.ERROR)  # what fails is raised
    setattr(torch._C, _GRAPH_LOG, lambda *_: None)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        setattr(torch._C, _GRAPH_LOG, graph_log)
