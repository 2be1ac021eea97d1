"""Targets that hold a graph: ONNX, with values inside and beside it, TensorFlow Lite and TensorFlow.js."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzz.case import Files, Target
from fuzz.mutators import of_one, raw, tree
from fuzz.mutators.messages import message_field
from fuzz.targets import tfjs_models
from fuzz.targets.network import read_and_copy
from fuzz.targets.tflite_models import Op, T, constant, model

_BYTES = of_one(raw.any_change)
_IMAGES = [1, 4, 8, 8]


def _model() -> onnx.ModelProto:
    """Return convolutions with plain, computed and quantised weights, one of them in a branch."""
    random = np.random.default_rng(0)
    plain = numpy_helper.from_array(random.normal(size=(4, 1, 3, 3)).astype("f4"), "dw.weight")
    bytes_ = numpy_helper.from_array(random.integers(-127, 127, (4, 1, 3, 3)).astype("i1"), "q.weight")
    scale = numpy_helper.from_array(np.full(4, 0.1, "f4"), "q.scale")
    branch = helper.make_graph(
        [helper.make_node("Conv", ["b", "dw.weight"], ["inner"], group=4, pads=[1, 1, 1, 1])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, _IMAGES)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "dw.weight"], ["a"], group=4, pads=[1, 1, 1, 1], name="first"),
        helper.make_node("DequantizeLinear", ["q.weight", "q.scale"], ["q"], axis=0),
        helper.make_node("Conv", ["a", "q"], ["b"], group=4, pads=[1, 1, 1, 1], name="second"),
        helper.make_node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch),
        helper.make_node("Transpose", ["dw.weight"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["c", "t"], ["y"], group=4, pads=[1, 1, 1, 1], name="third"),
    ]
    images = [helper.make_tensor_value_info(name, TensorProto.FLOAT, _IMAGES) for name in "xy"]
    stored = [plain, bytes_, scale, numpy_helper.from_array(np.array(True), "yes")]
    graph = helper.make_graph(nodes, "net", images[:1], images[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _inside() -> Sequence[Files]:
    return [{"a.onnx": _model().SerializeToString()}]


def _beside() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.onnx"
        onnx.save_model(_model(), path, save_as_external_data=True, location="a.data", size_threshold=0)
        return [{file.name: file.read_bytes() for file in Path(folder).iterdir()}]


def _tflite() -> Sequence[Files]:
    values = np.random.default_rng(0).normal(size=(1, 3, 3, 4))
    ends = T("x", (1, 8, 8, 4)), T("y", (1, 8, 8, 4))
    weights = (
        constant("dw", values.astype("f4")),
        constant("dw", values.astype("f2")),
        constant("dw", np.round(40 * values).astype("i1"), scale=np.full(4, 0.025), axis=3),
    )
    convolution = Op("DEPTHWISE_CONV_2D", (0, 1), (2,))
    return [{"a.tflite": model(([ends[0], weight, ends[1]], [convolution]))} for weight in weights]


_MUTATIONS = (_BYTES, of_one(message_field, ".onnx"), of_one(message_field, ".onnx"))

TARGETS = (
    Target("onnx", _inside, _MUTATIONS, read_and_copy("a.onnx")),
    Target("onnx-external", _beside, _MUTATIONS, read_and_copy("a.onnx")),
    Target("tflite", _tflite, (_BYTES, of_one(raw.integer), of_one(raw.integer)), read_and_copy("a.tflite")),
    Target(
        "tfjs",
        tfjs_models.samples,
        (_BYTES, of_one(tree.json_text, ".json"), of_one(tree.json_text, ".json")),
        read_and_copy("model.json"),
    ),
)
