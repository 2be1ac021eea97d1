"""ONNX: convolutions in branches, loops and local functions, and operators of onnxruntime with weights of their own."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_inputs import WEIGHT, convolution, save

import scalekeys as sk
from scalekeys.checkpoints import extract
from scalekeys.checkpoints.formats.onnx_model.blocked import in_order
from scalekeys.errors import CheckpointError
from scalekeys.filters import LeftOut

RNG = np.random.default_rng(2)


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def weight(name, *shape):
    return numpy_helper.from_array(RNG.normal(size=shape or (4, 1, 3, 3)).astype(np.float32), name)


def conv(weight_name, output, *, data="x", name="", **attributes):
    return helper.make_node("Conv", [data, weight_name], [output], name=name, **{"group": 4, **attributes})


def body(name, nodes, *tensors, inputs=()):
    return helper.make_graph(nodes, name, [value(entry) for entry in inputs], [value(nodes[-1].output[0])], tensors)


def model_of(nodes, *tensors, functions=(), inputs=("x",)):
    graph = helper.make_graph(nodes, "graph", [value(name) for name in inputs], [value(nodes[-1].output[0])], tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)], functions=functions
    )


def assert_filters(bank, **expected):
    """Compare names and values with tensors; names have slashes, written as two underscores here."""
    assert [layer.name for layer in bank.layers] == [name.replace("__", "/") for name in expected]
    for layer, tensor in zip(bank.layers, expected.values(), strict=True):
        assert torch.equal(layer.kernels, torch.from_numpy(numpy_helper.to_array(tensor)[:, 0].copy())), layer.name


def test_branches(tmp_path):
    """Each branch has its own weights, one of them that of the graph around it, and branches stand in branches."""
    shared, first, second, deep = weight("shared"), weight("a.weight"), weight("b"), weight("deep")
    inner = helper.make_node(
        "If",
        ["c"],
        ["i"],
        name="inner",
        then_branch=body("t", [conv("deep", "d")], deep),
        else_branch=body("e", [conv("shared", "f")]),
    )
    nodes = [
        conv("shared", "h"),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            name="choice",
            then_branch=body("t", [conv("a.weight", "p", data="h"), inner], first),
            else_branch=body("e", [conv("b", "q", data="h", strides=[2, 2])], second),
        ),
    ]
    bank = extract(save(model_of(nodes, shared, inputs=("x", "c")), tmp_path))
    found = {layer.name: layer for layer in bank.layers}
    assert set(found) == {
        "shared",
        "choice/then_branch/a",
        "choice/then_branch/inner/then_branch/deep",
        "choice/else_branch/b",
    }
    assert found["choice/else_branch/b"].stride == 2
    for name, tensor in [("shared", shared), ("choice/then_branch/inner/then_branch/deep", deep)]:
        assert torch.equal(found[name].kernels, torch.from_numpy(numpy_helper.to_array(tensor)[:, 0].copy()))


def test_two_branches_may_call_their_weights_the_same(tmp_path):
    first, second = weight("w"), weight("w")
    choice = helper.make_node(
        "If",
        ["c"],
        ["y"],
        then_branch=body("t", [conv("w", "a")], first),
        else_branch=body("e", [conv("w", "b")], second),
    )
    bank = extract(save(model_of([choice], inputs=("x", "c")), tmp_path))
    by_name = {"If_0__then_branch__w": first, "If_0__else_branch__w": second}
    assert_filters(bank, **{f"{layer.name}": by_name[layer.name.replace("/", "__")] for layer in bank.layers})
    assert len(bank.layers) == 2


def test_loops(tmp_path):
    """The weight in a loop is read; one that the loop carries from turn to turn is left out."""
    own, outer = weight("own"), weight("outer")
    turn = body(
        "turn",
        [
            conv("own", "p", data="s"),
            conv("outer", "q", data="p"),
            conv("carried", "r", data="q", name="moving"),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        own,
        inputs=("i", "go", "s", "carried"),
    )
    loop = helper.make_node("Loop", ["n", "c", "x", "outer"], ["y", "z"], name="loop", body=turn)
    bank = extract(save(model_of([loop], outer, inputs=("x", "n", "c")), tmp_path))
    assert_filters(bank, loop__body__own=own, outer=outer)
    reason = "its weight depends on the input 'carried', which has no value in the file"
    assert bank.left_out == (LeftOut("loop/body/moving", (), reason),)


def function(name, inputs, nodes, attributes=()):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, inputs, [nodes[-1].output[0]], nodes, opsets, attributes)


def referring(node, **attributes):
    for name, (kind, outer) in attributes.items():
        node.attribute.append(onnx.AttributeProto(name=name, type=kind, ref_attr_name=outer))
    return node


def test_functions(tmp_path):
    """A function with a weight handed in is a layer for each weight; one inside it is a layer for all its calls."""
    first, second, inner = weight("first"), weight("second"), weight("inside.weight")
    block = function(
        "Block", ["d", "k"], [conv("k", "m", data="d"), helper.make_node("Deep", ["m"], ["o"], domain="own")]
    )
    deep = function(
        "Deep",
        ["d"],
        [helper.make_node("Constant", [], ["inside.weight"], value=inner), conv("inside.weight", "o", data="d")],
    )
    nodes = [
        helper.make_node("Block", ["x", "first"], ["h"], domain="own", name="one"),
        helper.make_node("Block", ["h", "second"], ["y"], domain="own", name="two"),
    ]
    bank = extract(save(model_of(nodes, first, second, functions=[block, deep]), tmp_path))
    assert_filters(bank, first=first, one__Deep_1__inside=inner, second=second)


def test_attributes_of_calls(tmp_path):
    """The stride, the number of groups and the weight itself may be attributes of the call."""
    first, second = weight("", 4, 1, 3, 3), weight("", 4, 1, 5, 5)
    nodes = [
        referring(helper.make_node("Constant", [], ["k"]), value=(onnx.AttributeProto.TENSOR, "kernel")),
        referring(
            helper.make_node("Conv", ["d", "k"], ["o"]),
            strides=(onnx.AttributeProto.INTS, "step"),
            group=(onnx.AttributeProto.INT, "groups"),
        ),
    ]
    block = function("Block", ["d"], nodes, attributes=["kernel", "step", "groups"])
    calls = [
        helper.make_node("Block", ["x"], ["h"], domain="own", name="one", kernel=first, step=[2, 2], groups=4),
        helper.make_node("Block", ["h"], ["y"], domain="own", name="two", kernel=second, step=[1, 1], groups=4),
    ]
    bank = extract(save(model_of(calls, functions=[block]), tmp_path))
    assert_filters(bank, one__k=first, two__k=second)
    assert [layer.stride for layer in bank.layers] == [2, 1]


def test_a_function_may_compute_a_weight(tmp_path):
    half = weight("half")
    double = function("Double", ["a"], [helper.make_node("Add", ["a", "a"], ["b"])])
    nodes = [helper.make_node("Double", ["half"], ["w"], domain="own"), conv("w", "y")]
    (layer,) = extract(save(model_of(nodes, half, functions=[double]), tmp_path)).layers
    assert (layer.name, layer.kernels[0, 0, 0].item()) == ("half", 2 * numpy_helper.to_array(half)[0, 0, 0, 0].item())


@pytest.mark.parametrize("kind", ["itself", "doubling"])
def test_functions_that_call_one_another_without_end(kind, tmp_path):
    def twice(name, other):
        calls = [helper.make_node(other, [one], [two], domain="own") for one, two in (("d", "m"), ("m", "o"))]
        return function(name, ["d"], calls)

    functions = [twice("F0", "F0")] if kind == "itself" else [twice(f"F{i}", f"F{i + 1}") for i in range(25)]
    nodes = [helper.make_node("F0", ["x"], ["y"], domain="own")]
    with pytest.raises(CheckpointError, match="its functions call one another in circles, more than 32 deep, or"):
        extract(save(model_of(nodes, functions=functions), tmp_path))


@pytest.mark.parametrize(
    ("op", "domain"), [("FusedConv", "com.microsoft"), ("Conv", "com.ms.internal.nhwc"), ("Conv", "ai.onnx")]
)
def test_operators_with_the_weight_of_onnx(op, domain, tmp_path):
    (layer,) = extract(save(convolution(WEIGHT, op=op, domain=domain), tmp_path)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


@pytest.mark.parametrize(
    ("op", "domain", "reason"),
    [
        ("DeformConv", "", "the taps of a DeformConv move with its input"),
        (
            "ConvTransposeWithDynamicPads",
            "com.microsoft",
            'it is a transposed convolution of 4 groups; kinds="grouped" reads it',
        ),
        ("ATen", "org.pytorch.aten", "the operator 'ATen' of the domain 'org.pytorch.aten' in version 1 is not known"),
        ("Conv", "mine", "the operator 'Conv' of the domain 'mine' in version 1 is not known"),
        ("MMCVDeformConv2d", "mmcv", "the operator 'MMCVDeformConv2d' of the domain 'mmcv' in version 1 is not known"),
    ],
)
def test_operators_that_are_not_read_are_left_out(op, domain, reason, tmp_path):
    model = convolution(WEIGHT, op=op, domain=domain)
    model.graph.node.append(conv("v", "z", data="y"))
    model.graph.initializer.append(weight("v"))
    ((found,),) = [extract(save(model, tmp_path)).left_out]
    assert (found.reason, found.shape) == (reason, (4, 1, 3, 5))


def test_versions_to_come_of_the_operators_of_onnxruntime_are_left_out(tmp_path):
    model = convolution(WEIGHT, op="FusedConv", domain="com.microsoft")
    model.opset_import[1].version = 2
    with pytest.raises(CheckpointError, match=r"'FusedConv' of the domain 'com\.microsoft' in version 2 is not known"):
        extract(save(model, tmp_path))


@pytest.mark.parametrize("shape", [(4, 3, 5, 1), (4, 1, 5, 1), (4, 1, 3, 5)])
@pytest.mark.parametrize("said", [True, False])
def test_inputs_last(shape, said, tmp_path):
    """``NhwcConv`` takes (outputs, rows, cols, inputs); a weight with the inputs second is read if its size is said."""
    array, second = RNG.normal(size=shape).astype(np.float32), shape[3] != 1
    sides = {"kernel_shape": shape[2:] if second else shape[1:3]} if said else {}
    path = save(convolution(array, op="NhwcConv", domain="com.microsoft", **sides), tmp_path)
    if second and not said:
        with pytest.raises(CheckpointError, match=r"the NhwcConv of com\.microsoft takes weights with the inputs last"):
            extract(path)
    else:
        assert torch.equal(extract(path).layers[0].kernels, torch.from_numpy(array[:, 0] if second else array[..., 0]))


def network(channels, *, bias):
    """A stem and two depthwise layers, as onnxruntime needs them to reorder all three."""
    tensors = [
        weight("s", channels, 3, 3, 3),
        weight("a.weight", channels, 1, 3, 3),
        weight("b.weight", channels, 1, 5, 5),
    ]
    nodes = []
    for number, (tensor, side) in enumerate(zip(tensors[:], (3, 3, 5), strict=True)):
        name = tensor.name.removesuffix(".weight")
        extra = [weight(f"{name}.bias", channels)] if bias else []
        tensors += extra
        inputs = [f"h{number}" if number else "x", tensor.name, *(entry.name for entry in extra)]
        group = channels if number else 1
        nodes.append(helper.make_node("Conv", inputs, [f"h{number + 1}"], name=name, group=group, pads=[side // 2] * 4))
    return model_of(nodes, *tensors), {tensor.name: numpy_helper.to_array(tensor)[:, 0] for tensor in tensors[1:3]}


@pytest.mark.parametrize("channels", [8, 12, 24, 40, 52])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_that_onnxruntime_has_reordered(channels, bias, tmp_path):
    """Whatever the size of the blocks on this machine; 8, 24 and 40 channels are filled up where it is 16."""
    model, expected = network(channels, bias=bias)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "net.onnx"), 4
    model.ir_version = 8
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    bank = extract(tmp_path / "net.onnx")
    for layer, array in zip(bank.layers, expected.values(), strict=True):
        assert torch.equal(layer.kernels, torch.from_numpy(array.copy()))
    if bias and channels % 16 == 8 and not bank.notes:
        assert [layer.name for layer in bank.layers] == ["a", "b"]


def reordered(array, size):
    """Return a depthwise weight as ``MlasReorderFilterOIHWBo`` does: blocks, taps, channels of a block."""
    channels = -(-len(array) // size) * size
    filled = np.zeros((channels, *array.shape[1:]), np.float32)
    filled[: len(array)] = array
    taps = filled.reshape(channels, -1)
    blocks = [taps[start : start + size].T for start in range(0, channels, size)]
    return np.stack(blocks).reshape(filled.shape)


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("channels", [8, 12, 20, 24, 30, 32, 48])
def test_the_size_of_blocks_is_told_by_the_model_or_not_guessed(size, channels, tmp_path):
    array = RNG.normal(size=(channels, 1, 3, 5)).astype(np.float32)
    stored = reordered(array, size)
    model = convolution(stored, name="reorder", op="Conv", domain="com.microsoft.nchwc", group=len(stored))
    path = save(model, tmp_path)
    if channels % 16:
        (layer,) = extract(path).layers
        assert (layer.name, tuple(layer.kernels.shape)) == ("conv", (channels, 3, 5))
        assert torch.equal(layer.kernels, torch.from_numpy(array[:, 0]))
        assert np.array_equal(in_order(stored, size)[:channels], array)
    else:
        with pytest.raises(
            CheckpointError, match=r"blocked layout of onnxruntime \(com\.microsoft\.nchwc\), and nothing"
        ):
            extract(path)


def test_one_layer_tells_the_size_of_blocks_for_all(tmp_path):
    arrays = [RNG.normal(size=(channels, 1, 3, 3)).astype(np.float32) for channels in (32, 20)]
    model = convolution(reordered(arrays[0], 16), name="r", domain="com.microsoft.nchwc", group=32)
    model.graph.initializer.append(numpy_helper.from_array(reordered(arrays[1], 16), "s"))
    model.graph.node.append(
        helper.make_node("Conv", ["y", "s"], ["z"], name="second", group=32, domain="com.microsoft.nchwc")
    )
    bank = extract(save(model, tmp_path))
    for layer, array in zip(bank.layers, arrays, strict=True):
        assert torch.equal(layer.kernels, torch.from_numpy(array[:, 0]))
    filling = "has 12 filters of zeros at its end, taken for what fills up a block of 16 channels"
    assert bank.notes == (f"layer 's' {filling}",)


def test_filters_are_written_where_they_are_stored_and_nowhere_else(tmp_path):
    """In a branch they are; computed ones are refused, and the copy is exact where these layers are kept."""
    plain, quantised = weight("plain"), numpy_helper.from_array(RNG.integers(-9, 9, (4, 1, 3, 3)).astype(np.int8), "q")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        conv("w", "h"),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            name="choice",
            then_branch=body("t", [conv("plain", "a")], plain),
            else_branch=body("e", [helper.make_node("Identity", ["h"], ["b"])]),
        ),
    ]
    scale = numpy_helper.from_array(np.float32(0.5), "s")
    path = save(model_of(nodes, quantised, scale, inputs=("x", "c")), tmp_path)
    bank = extract(path)
    everything = sk.replacement(sk.assign_keys(bank))
    with pytest.raises(CheckpointError, match=r"layer 'q' is quantised, computed, .*; keep this layer"):
        sk.write_replaced(path, everything, tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()
    some = sk.replacement(sk.assign_keys(bank), layers=["choice/then_branch/plain"])
    sk.write_replaced(path, some, tmp_path / "new.onnx")
    before, after = onnx.load(path), onnx.load(tmp_path / "new.onnx")
    (old,), (new,) = (
        [a.g.initializer[0] for a in model.graph.node[2].attribute if a.name == "then_branch"]
        for model in (before, after)
    )
    assert old.raw_data != new.raw_data
    assert torch.equal(extract(tmp_path / "new.onnx").layers[1].kernels, some.filters.layers[1].kernels)
    old.raw_data = new.raw_data = b""
    assert before == after


@pytest.mark.parametrize("other", ["ConvTranspose", "Neg", "Conv", "Identity", "Shape"])
def test_a_weight_that_is_more_than_one_is_not_changed(other, tmp_path):
    """A second depthwise layer may share it, directly or through an ``Identity``, and its shape may be asked for."""
    model = convolution(WEIGHT)
    second = {
        "ConvTranspose": [helper.make_node("ConvTranspose", ["y", "dw.weight"], ["z"], name="second", group=4)],
        "Neg": [helper.make_node("Neg", ["dw.weight"], ["z"], name="second")],
        "Shape": [helper.make_node("Shape", ["dw.weight"], ["z"])],
        "Conv": [conv("dw.weight", "z")],
        "Identity": [helper.make_node("Identity", ["dw.weight"], ["i"]), conv("i", "z")],
    }
    model.graph.node.extend(second[other])
    path = save(model, tmp_path)
    chosen = sk.replacement(sk.assign_keys(extract(path)))
    if other in ("Conv", "Identity", "Shape"):
        sk.write_replaced(path, chosen, tmp_path / "new.onnx")
        assert torch.equal(extract(tmp_path / "new.onnx").layers[0].kernels, chosen.filters.layers[0].kernels)
    else:
        with pytest.raises(
            CheckpointError, match="the weight of layer 'dw' is an input of 'second' as well, which is to"
        ):
            sk.write_replaced(path, chosen, tmp_path / "new.onnx")
        assert not (tmp_path / "new.onnx").exists()
