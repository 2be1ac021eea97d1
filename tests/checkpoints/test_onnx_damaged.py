"""ONNX: damaged models are one sentence, or leave out what is damaged and read the rest."""

import os
import random

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_inputs import WEIGHT, convolution, save

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError, ScaleKeysError
from scalekeys.filters import LeftOut


def beside_a_sound_layer(damage):
    """Return a model of two layers, the first of them damaged."""
    model = convolution(WEIGHT, node="damaged", strides=[2, 2])
    model.graph.node.append(helper.make_node("Conv", ["y", "v.weight"], ["z"], name="sound", group=4))
    model.graph.initializer.append(numpy_helper.from_array(WEIGHT, "v.weight"))
    damage(model.graph.node[0], model.graph.initializer[0])
    return model


def attribute(name, **fields):
    """Return a way to put an attribute of a node in the place of another."""

    def damage(node, _):
        kept = [entry for entry in node.attribute if entry.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.AttributeProto(name=name, **fields)])

    return damage


def _type(number):
    return lambda _, tensor: setattr(tensor, "data_type", number)


DAMAGES = {
    "no inputs": (lambda node, _: node.ClearField("input"), "its Conv has no weight"),
    "an empty input": (lambda node, _: node.input.__setitem__(1, ""), "its Conv has no weight"),
    "a name of nothing": (lambda node, _: node.input.__setitem__(1, "n"), "nothing in the file gives its weight"),
    "a type that is none": (_type(99), "its values are of a type that is not known (99)"),
    "strings": (_type(TensorProto.STRING), "its weight holds object values, not floating-point filters"),
    "a negative side": (lambda _, tensor: tensor.dims.__setitem__(0, -4), "its shape has a negative side"),
    "groups that do not fit": (
        attribute("group", i=3, type=2),
        "its weight of shape (4, 1, 3, 5) does not fit its 3 groups",
    ),
    "no groups": (attribute("group", i=0, type=2), "its weight of shape (4, 1, 3, 5) does not fit its 0 groups"),
    "groups of text": (attribute("group", s=b"4", type=3), "the attribute 'group' of its Conv is damaged"),
    "many groups": (attribute("group", ints=[4, 4], type=7), "the attribute 'group' of its Conv is damaged"),
    "negative strides": (attribute("strides", ints=[-1, 1], type=7), "the attribute 'strides' of its Conv is damaged"),
    "one stride": (attribute("strides", ints=[2], type=7), "the attribute 'strides' of its Conv is damaged"),
    "strides of nothing": (attribute("strides", ints=[0, 0], type=7), "the attribute 'strides' of its Conv is damaged"),
    "dilations of numbers": (
        attribute("dilations", floats=[1.0, 1.0], type=6),
        "the attribute 'dilations' of its Conv is damaged",
    ),
    "another kernel": (
        attribute("kernel_shape", ints=[5, 5], type=7),
        "its weight of shape (4, 1, 3, 5) does not have its kernel_shape",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_layer_is_left_out_and_the_others_are_read(kind, tmp_path):
    damage, reason = DAMAGES[kind]
    bank = extract(save(beside_a_sound_layer(damage), tmp_path))
    assert [layer.name for layer in bank.layers] == ["v"]
    assert [entry.reason for entry in bank.left_out] == [reason]
    assert bank.left_out[0].name in ("damaged", "dw")


def test_what_does_not_matter_may_be_damaged(tmp_path):
    """Outputs, another tensor, a constant without a value: what no filter depends on."""
    model = convolution(WEIGHT, extra=[helper.make_node("Constant", [], ["k"]), helper.make_node("If", ["k"], [])])
    model.graph.node[2].ClearField("output")
    model.graph.initializer.append(TensorProto(name="other", data_type=99, dims=[-1, 10**15]))
    model.graph.initializer.append(TensorProto())
    (layer,) = extract(save(model, tmp_path)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


def test_names_that_are_no_text(tmp_path):
    content = convolution(WEIGHT, name="dw_weight").SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"dw_weight", b"dw\xff\xfeeight"))
    (layer,) = extract(tmp_path / "net.onnx").layers
    assert layer.name == r"dw\xff\xfeeight"
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


def test_long_names_stay_apart_and_messages_short(tmp_path):
    names = ["w" * 100_000 + end for end in "ab"]
    model = convolution(WEIGHT, name=names[0])
    model.graph.node.append(helper.make_node("Conv", ["y", names[1]], ["z"], group=4))
    model.graph.initializer.append(numpy_helper.from_array(WEIGHT + 1, names[1]))
    bank = extract(save(model, tmp_path))
    assert [len(layer.name) < 300 for layer in bank.layers] == [True, True]
    assert torch.equal(bank.layers[1].kernels, torch.from_numpy(WEIGHT[:, 0] + 1))
    model.graph.initializer[0].raw_data = b"12"
    with pytest.raises(CheckpointError, match="are damaged") as caught:
        extract(save(model, tmp_path))
    assert len(str(caught.value)) <= 500 + len(str(tmp_path))


def test_tensors_of_one_name_are_not_mistaken_for_one_another(tmp_path):
    """An unnamed ``If`` that is there twice, with weights of one name, has the same path twice."""
    model = convolution(WEIGHT)
    model.graph.node[0].name = "first"
    for _ in range(2):
        inner = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["o"], group=4)],
            "body",
            [],
            [helper.make_tensor_value_info("o", 1, None)],
            [numpy_helper.from_array(WEIGHT + len(model.graph.node), "w")],
        )
        model.graph.node.append(helper.make_node("If", ["c"], [f"z{_}"], name="same", then_branch=inner))
    bank = extract(save(model, tmp_path))
    assert len({layer.name for layer in bank.layers}) == 3
    for number, layer in enumerate(bank.layers):
        assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0] + np.float32(number)))


def external(folder, location, **fields):
    tensor = TensorProto(name="dw.weight", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **fields}.items():
        tensor.external_data.add(key=key, value=value)
    return save(convolution(None, stored=[tensor]), folder)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("pipe", "is not a regular file"),
        ("folder", r"cannot be read \(it is a folder\)"),
        ("device", "is outside the model's folder and is not read"),
        ("circle", "cannot be read"),
        ("net\0data", "cannot be read, as no file is called so"),
        ("n" * 3000, "cannot be read"),
        ("n" * 300, r"cannot be read \(File name too long\)"),
        ("n/" * 5000, "cannot be read, as no file is called so"),
    ],
)
def test_files_of_values_that_are_none(location, said, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(CheckpointError, match=rf"net\.onnx: its external data .* {said}"):
        extract(external(tmp_path, location))


def test_locations_that_are_no_text(tmp_path):
    path = external(tmp_path, "net_data")
    path.write_bytes(path.read_bytes().replace(b"net_data", b"net\xffdata"))
    with pytest.raises(CheckpointError, match=r"its external data .*net.*xffdata.* is outside|cannot be read"):
        extract(path)


@pytest.mark.parametrize(
    "fields",
    [{"offset": "-4"}, {"offset": "1e3"}, {"offset": " 4"}, {"offset": "٤"}, {"length": "-1"}, {"length": "all"}],
)
def test_numbers_of_bytes_that_are_none(fields, tmp_path):
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes() * 2)
    with pytest.raises(
        CheckpointError, match=r"its external data 'net\.data' cannot be read \('.*' is no number of bytes"
    ):
        extract(external(tmp_path, "net.data", **fields))


def test_a_length_that_does_not_fit(tmp_path):
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
    with pytest.raises(CheckpointError, match=r"'dw\.weight' are damaged \(7 bytes in place of 240\)"):
        extract(external(tmp_path, "net.data", length="7"))


def test_huge_claims_take_no_memory(tmp_path):
    for dims in ([10**12, 1, 3, 3], [2**28, 1, 3, 3]):
        tensor = TensorProto(name="dw.weight", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"1234")
        with pytest.raises(CheckpointError, match=r"layer 'dw' claims \d+ values, which no network has"):
            extract(save(convolution(None, stored=[tensor]), tmp_path))


@pytest.mark.parametrize("entry", [b"\x0a\x00", b"\x2a\x00"])
def test_a_graph_of_countless_empty_entries(entry, tmp_path):
    """Two bytes for each node or tensor, which would take hundreds in memory."""
    graph = b"\x0a\x02\x22\x00" + entry * 600_000
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7 & 127 | 128, len(graph) >> 14])
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\x3a" + length + graph)
    with pytest.raises(CheckpointError, match=r"has a graph of 60000\d nodes and tensors, which no network has"):
        extract(tmp_path / "net.onnx")


def test_constants_are_never_read_from_another_folder(tmp_path, monkeypatch):
    """An attribute may name a file as well; it is not read, wherever the process runs."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_bytes(np.float32(7).tobytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    fill = TensorProto(name="v", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    fill.external_data.add(key="location", value="secret")
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["w"], value=fill)]
    stored = [numpy_helper.from_array(np.array([4, 1, 3, 3]), "n")]
    with pytest.raises(
        CheckpointError, match="its weight is computed by ConstantOfShape in a way that is not evaluated"
    ):
        extract(save(convolution(None, name="w", stored=stored, extra=nodes), tmp_path))


def test_random_damage_is_one_sentence_or_none(tmp_path):
    """Bytes of a model with a branch, a constant that is computed and quantised weights are changed at random."""
    branch = helper.make_graph(
        [helper.make_node("Conv", ["y", "b"], ["o"], group=4)],
        "branch",
        [],
        [helper.make_tensor_value_info("o", 1, None)],
        [numpy_helper.from_array(WEIGHT, "b")],
    )
    extra = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0),
        helper.make_node("If", ["c"], ["z"], then_branch=branch),
    ]
    stored = [
        numpy_helper.from_array(np.ones((4, 1, 3, 3), np.int8), "q"),
        numpy_helper.from_array(np.ones(4, np.float32), "s"),
    ]
    whole = convolution(None, name="w", stored=stored, extra=extra).SerializeToString()
    assert len(extract(save(onnx.ModelProto.FromString(whole), tmp_path)).layers) == 2
    dice, outcomes = random.Random(0), set()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(dice.choice([1, 2, 5])):
            content[dice.randrange(len(content))] = dice.randrange(256)
        (tmp_path / "net.onnx").write_bytes(content)
        try:
            outcomes.add(len(extract(tmp_path / "net.onnx").layers))
        except ScaleKeysError as error:
            outcomes.add(type(error).__name__)
    assert {0, 1, 2, "CheckpointError"} >= outcomes >= {1, 2, "CheckpointError"}


def test_left_out_entries_have_the_place_of_the_node(tmp_path):
    model = beside_a_sound_layer(lambda node, _: node.ClearField("input"))
    model.graph.node[0].ClearField("name")
    assert extract(save(model, tmp_path)).left_out == (LeftOut("Conv_0", (), "its Conv has no weight"),)
