"""ONNX models of one convolution, by hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.random.default_rng(0).normal(size=(4, 1, 3, 5)).astype(np.float32)


def convolution(
    weight,
    *,
    name="dw.weight",
    node="conv",
    stored=None,
    extra=(),
    group=4,
    op="Conv",
    domain="",
    version=17,
    **attributes,
):
    """Build a model of one convolution around a weight, or around what `stored` and `extra` say."""
    nodes = [*extra, helper.make_node(op, ["x", name], ["y"], name=node, group=group, domain=domain, **attributes)]
    info = [helper.make_tensor_value_info(end, TensorProto.FLOAT, None) for end in "xy"]
    stored = [numpy_helper.from_array(weight, name)] if stored is None else stored
    opsets = [helper.make_opsetid("", version), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(helper.make_graph(nodes, "graph", info[:1], info[1:], stored), opset_imports=opsets)


def save(model, folder):
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"
