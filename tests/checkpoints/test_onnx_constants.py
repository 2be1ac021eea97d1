"""ONNX: weights that the graph computes from what the file stores; onnxruntime computes the same."""

import tracemalloc
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_inputs import WEIGHT, convolution, save

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError

RNG = np.random.default_rng(1)
INTEGERS = RNG.integers(-100, 100, (4, 1, 3, 3))
SCALE = RNG.uniform(0.1, 1, 4).astype(np.float32)
KERNEL = INTEGERS.astype(np.float32)


def run(nodes, stored, version):
    """Return the value `w` of a graph, as onnxruntime computes it."""
    output = helper.make_tensor_value_info("w", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [], [output], stored)
    opsets = [helper.make_opsetid("", version), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {})[0]


def stored(**arrays):
    return [array if hasattr(array, "dims") else numpy_helper.from_array(array, name) for name, array in arrays.items()]


def packed(name, dtype, values):
    return helper.make_tensor(name, dtype, values.shape, values.flatten().tolist())


def dequantised(*, domain="", **attributes):
    return [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], domain=domain, **attributes)]


DEQUANTISED = {
    "int8 per channel": (
        dequantised(axis=0),
        stored(q=INTEGERS.astype(np.int8), s=SCALE, z=np.array([1, 0, -2, 3], np.int8)),
        17,
    ),
    "uint8 as a whole": (
        dequantised(),
        stored(q=(INTEGERS + 100).astype(np.uint8), s=np.float32(0.5), z=np.uint8(90)),
        10,
    ),
    "the last axis": (
        dequantised(axis=-1),
        stored(q=INTEGERS.astype(np.int8), s=SCALE[:3], z=np.zeros(3, np.int8)),
        13,
    ),
    "int4 in blocks": (
        dequantised(axis=2, block_size=2),
        stored(
            q=packed("q", TensorProto.INT4, INTEGERS // 13),
            s=RNG.uniform(0.1, 1, (4, 1, 2, 3)).astype(np.float32),
            z=packed("z", TensorProto.INT4, RNG.integers(-8, 7, (4, 1, 2, 3))),
        ),
        21,
    ),
    "of onnxruntime": (
        dequantised(axis=0, domain="com.microsoft"),
        stored(q=(INTEGERS * 300).astype(np.int16), s=SCALE, z=np.array([1, 0, -2, 300], np.int16)),
        17,
    ),
}
COMPUTED = {
    "lists and shapes": (
        [
            helper.make_node("Constant", [], ["a"], value_floats=KERNEL.flatten().tolist()),
            helper.make_node("Constant", [], ["s"], value_ints=[4, 1, 3, 3]),
            helper.make_node("Reshape", ["a", "s"], ["b"]),
            helper.make_node("Transpose", ["b"], ["w"], perm=[0, 1, 3, 2]),
        ],
        [],
        13,
    ),
    "a cast and a scale": (
        [
            helper.make_node("Cast", ["k"], ["a"], to=TensorProto.FLOAT),
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            helper.make_node("Mul", ["a", "two"], ["w"]),
        ],
        stored(k=KERNEL.astype(np.float16)),
        13,
    ),
    "parts": (
        [
            helper.make_node("Split", ["k"], ["a", "b"], axis=0, num_outputs=2),
            helper.make_node("Concat", ["b", "a"], ["w"], axis=0),
        ],
        stored(k=KERNEL),
        18,
    ),
    "a blur for all channels": (
        [
            helper.make_node("ConstantOfShape", ["s"], ["a"], value=helper.make_tensor("v", 1, [1], [1 / 9])),
            helper.make_node("Unsqueeze", ["a", "axes"], ["b"]),
            helper.make_node("Expand", ["b", "t"], ["w"]),
        ],
        stored(s=np.array([3, 3]), axes=np.array([0, 1]), t=np.array([4, 1, 3, 3])),
        13,
    ),
    "rounded by a quantiser": (
        [
            helper.make_node("QuantizeLinear", ["k", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        ],
        stored(k=KERNEL, s=np.float32(7), z=np.int8(0)),
        13,
    ),
}


@pytest.mark.parametrize("way", [*DEQUANTISED, *COMPUTED])
def test_weights_are_those_that_onnxruntime_computes(way, tmp_path):
    nodes, tensors, version = (DEQUANTISED | COMPUTED)[way]
    model = convolution(None, name="w", stored=tensors, extra=nodes, version=version)
    (layer,) = extract(save(model, tmp_path)).layers
    expected = run(nodes, tensors, version)
    assert len(np.unique(expected)) > 3 or way == "a blur for all channels"
    assert torch.equal(layer.kernels, torch.from_numpy(expected[:, 0]))


def test_float8_with_scales(tmp_path):
    values = torch.from_numpy(KERNEL / 50).to(torch.float8_e4m3fn)
    tensor = helper.make_tensor(
        "q", TensorProto.FLOAT8E4M3FN, values.shape, values.view(torch.uint8).numpy().tobytes(), raw=True
    )
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0)]
    model = convolution(None, name="w", stored=[tensor, *stored(s=SCALE)], extra=nodes, version=19)
    (layer,) = extract(save(model, tmp_path)).layers
    assert layer.name == "q"
    assert torch.equal(layer.kernels, values.float()[:, 0] * torch.from_numpy(SCALE)[:, None, None])


def test_sparse_weights(tmp_path):
    values = helper.make_tensor("dw.weight", TensorProto.FLOAT, [2], [1.5, -2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [2], [4, 40]), [4, 1, 3, 5])
    inside = [helper.make_node("Constant", [], ["dw.weight"], sparse_value=sparse)]
    among = convolution(None, stored=[])
    among.graph.sparse_initializer.append(sparse)
    expected = torch.zeros(60)
    expected[[4, 40]] = torch.tensor([1.5, -2.0])
    for model in (convolution(None, stored=[], extra=inside), among):
        (layer,) = extract(save(model, tmp_path)).layers
        assert torch.equal(layer.kernels.flatten(), expected)


@pytest.mark.parametrize("scales", [1, 4])
def test_quantised_convolutions(scales, tmp_path):
    """The weight of a ``QLinearConv`` is (q - zero point) * scale, with one of each or one for each filter."""
    model = convolution(None, name="q", stored=stored(q=INTEGERS.astype(np.int8)), op="QLinearConv")
    scale, zero_point = SCALE[:scales], np.array([5, -3, 0, 1], np.int8)[:scales]
    model.graph.initializer.extend(stored(s=scale, z=zero_point))
    del model.graph.node[0].input[:]
    model.graph.node[0].input.extend(["x", "xs", "xz", "q", "s", "z", "ys", "yz"])
    bank = extract(save(model, tmp_path))
    expected = (INTEGERS - zero_point.astype(int)[:, None, None, None]).astype(np.float32) * scale[:, None, None, None]
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(expected[:, 0]))


@pytest.mark.parametrize("known", [True, False])
def test_the_scale_of_an_integer_convolution_comes_after_it(known, tmp_path):
    """As the dynamic quantisation of onnxruntime has it: cast the result, multiply with the product of two scales."""
    extra = [helper.make_node("DynamicQuantizeLinear", ["in"], ["x", "xs", "xz"])] * known
    model = convolution(
        None, stored=stored(**{"dw.weight": INTEGERS.astype(np.int8), "s": SCALE[:1]}), op="ConvInteger"
    )
    model.graph.node.extend(
        [
            *extra,
            helper.make_node("Cast", ["y"], ["f"], to=1),
            helper.make_node("Mul", ["xs", "s"], ["both"]),
            helper.make_node("Mul", ["f", "both"], ["out"]),
        ]
    )
    bank = extract(save(model, tmp_path))
    factor = SCALE[0] if known else 1
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(KERNEL[:, 0]) * factor)
    said = ("layer 'dw' holds whole numbers: nothing in the graph tells the scale of its ConvInteger",)
    assert bank.notes == (() if known else said)


def test_one_set_of_integers_with_two_scales_is_two_layers(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["v"]),
        helper.make_node("Conv", ["in", "v"], ["x"], name="first", group=4),
        helper.make_node("DequantizeLinear", ["q", "t"], ["w"]),
    ]
    tensors = stored(q=INTEGERS.astype(np.int8), s=np.float32(0.5), t=np.float32(2))
    bank = extract(save(convolution(None, name="w", stored=tensors, extra=nodes), tmp_path))
    assert [layer.name for layer in bank.layers] == ["q", "conv"]
    assert torch.equal(bank.layers[0].kernels * 4, bank.layers[1].kernels)


def test_integers_without_a_scale_are_left_out(tmp_path):
    """A network with one quantised layer that is not understood still gives its others."""
    model = convolution(None, stored=stored(**{"dw.weight": INTEGERS.astype(np.int8), "v": KERNEL}))
    model.graph.node.append(helper.make_node("Conv", ["y", "v"], ["z"], group=4))
    bank = extract(save(model, tmp_path))
    assert [layer.name for layer in bank.layers] == ["v"]
    assert bank.left_out[0].reason == "its weight holds int8 values, not floating-point filters"
    assert bank.left_out[0].shape == (4, 1, 3, 3)


HUGE = 10**12
BOMBS = {
    "ConstantOfShape": ([helper.make_node("ConstantOfShape", ["n"], ["w"])], stored(n=np.array([HUGE, 1, 3, 3]))),
    "Expand": ([helper.make_node("Expand", ["k", "n"], ["w"])], stored(k=KERNEL[:1], n=np.array([HUGE, 1, 3, 3]))),
    "Tile": ([helper.make_node("Tile", ["k", "n"], ["w"])], stored(k=KERNEL, n=np.array([HUGE, 1, 1, 1]))),
    "Range": (
        [helper.make_node("Range", ["a", "n", "b"], ["w"])],
        stored(a=np.int64(0), n=np.int64(HUGE), b=np.int64(1)),
    ),
    "Pad": ([helper.make_node("Pad", ["k", "n"], ["w"])], stored(k=KERNEL, n=np.array([0, 0, 0, HUGE, 0, 0, 0, HUGE]))),
    "Split": ([helper.make_node("Split", ["k"], ["w"], num_outputs=2**31 - 1)], stored(k=KERNEL)),
    "DequantizeLinear": (
        dequantised(axis=0, block_size=2**31 - 1),
        stored(q=INTEGERS.astype(np.int8), s=KERNEL, z=INTEGERS.astype(np.int8)),
    ),
    "ReduceSum": (
        [helper.make_node("ConstantOfShape", ["n"], ["k"]), helper.make_node("ReduceSum", ["k", "a"], ["w"])],
        stored(n=np.array([0, HUGE]), a=np.array([0])),
    ),
    "Concat": (
        [
            helper.make_node("ConstantOfShape", ["n"], ["k"]),
            *(helper.make_node("Concat", [f"k{i}" if i else "k"] * 8, [f"k{i + 1}"], axis=0) for i in range(8)),
            helper.make_node("Identity", ["k8"], ["w"]),
        ],
        stored(n=np.array([1000, 1, 3, 3])),
    ),
}


@pytest.mark.parametrize("operator", BOMBS)
def test_what_a_few_bytes_ask_for_is_refused_before_memory_is_taken(operator, tmp_path):
    nodes, tensors = BOMBS[operator]
    path = save(convolution(None, name="w", stored=tensors, extra=nodes, version=21), tmp_path)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"'conv' \(its weight is computed from more numbers than a weight has"):
        extract(path)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([helper.make_node("RandomNormal", [], ["w"], shape=[4, 1, 3, 3])], "by RandomNormal, which is not evaluated"),
        ([helper.make_node("Mystery", ["k"], ["w"], domain="mine")], "by Mystery, which is not evaluated"),
        ([helper.make_node("Add", ["k", "w"], ["w"])], "in a circle"),
        ([helper.make_node("Reshape", ["k", "k"], ["w"])], "by Reshape, which fails"),
        ([helper.make_node("Add", ["k", "t"], ["w"])], "by Add from inputs that do not fit"),
        ([helper.make_node("Cast", ["k"], ["w"], to=TensorProto.STRING)], "by Cast in a way that is not evaluated"),
        ([helper.make_node("Neg", [], ["w"])], "by Neg, which has no inputs"),
        (
            [helper.make_node("Neg", [f"k{i}" if i else "k"], [f"k{i + 1}" if i < 300 else "w"]) for i in range(301)],
            "by more than 256 nodes",
        ),
    ],
)
def test_what_is_not_computed_is_left_out_with_a_reason(nodes, reason, tmp_path):
    tensors = stored(k=KERNEL, t=np.ones(7, np.float32))
    with pytest.raises(CheckpointError, match=rf"left out: 'conv' \(its weight is computed {reason}"):
        extract(save(convolution(None, name="w", stored=tensors, extra=nodes), tmp_path))


def test_operators_of_a_version_to_come_are_not_computed(tmp_path):
    model = convolution(None, name="w", stored=stored(k=WEIGHT), extra=[helper.make_node("Neg", ["k"], ["w"])])
    model.opset_import[0].version = 1000
    with pytest.raises(CheckpointError, match=r"computed by operators of version 1000, and 1 to [0-9]+ are known"):
        extract(save(model, tmp_path))


def test_values_that_are_used_many_times_are_computed_once(tmp_path):
    """Sixty sums of a value with itself: as a tree it has 2 ** 60 branches."""
    names = ["k", *(f"k{i}" for i in range(59)), "w"]
    nodes = [helper.make_node("Add", [one, one], [other]) for one, other in pairwise(names)]
    (layer,) = extract(save(convolution(None, name="w", stored=stored(k=WEIGHT), extra=nodes), tmp_path)).layers
    torch.testing.assert_close(layer.kernels, torch.from_numpy(WEIGHT[:, 0]) * 2.0**60)
