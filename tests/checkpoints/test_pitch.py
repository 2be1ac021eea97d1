"""The pitch of layers: how many samples of the input lie between the samples that a layer works on."""

import numpy as np
import onnx
import pyarrow.compute as pc
import pytest
import torch
from fuzz.targets.tflite_models import Op, T, constant, model
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import scalekeys as sk

CHANNELS = 4


def conv(given, made, *, op="Conv", group=CHANNELS, side=3, **attributes):
    """A depthwise convolution by a weight that is called as what it makes."""
    return helper.make_node(op, [given, f"{made}.weight"], [made], group=group, pads=[side // 2] * 4, **attributes)


def pitches(tmp_path, nodes, constants=(), shape=(1, CHANNELS, 64, 96)):
    """The pitch of the layers of a graph, by name; each convolution without a weight among the constants has one."""
    stored = dict(constants)
    for node in nodes:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] not in stored:
            stored[node.input[1]] = np.random.default_rng(0).normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, form) for name, form in (("x", shape), ("y", None))]
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph([*nodes], "graph", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    return {layer.name: layer.pitch for layer in sk.extract(tmp_path / "net.onnx").layers}


def test_strides_and_pooling_multiply_along_each_axis(tmp_path):
    nodes = [
        conv("x", "a", strides=[2, 1]),
        helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        conv("p", "b", strides=[1, 3], dilations=[2, 2]),
        conv("b", "y"),
    ]
    assert pitches(tmp_path, nodes) == {"a": (1.0, 1.0), "b": (4.0, 2.0), "y": (4.0, 6.0)}
    for shape in (("n", CHANNELS, "h", "w"), (1, CHANNELS, 61, 97)):
        assert pitches(tmp_path, nodes, shape=shape)["y"] == (4.0, 6.0)


def test_a_skip_connection_has_a_pitch_where_both_branches_agree(tmp_path):
    def joined(stride, op):
        nodes = [conv("x", "a", strides=[2, 2]), conv("x", "b", strides=[stride, stride])]
        return pitches(tmp_path, [*nodes, helper.make_node(op, ["a", "b"], ["s"]), conv("s", "y")])["y"]

    assert joined(2, "Add") == (2.0, 2.0)
    assert joined(1, "Add") is None


@pytest.mark.parametrize("how", ["scales", "sides", "sides of the skip", "transposed"])
def test_a_u_net_comes_back_to_the_pitch_it_left(tmp_path, how):
    nodes = [conv("x", "down", strides=[2, 2]), conv("down", "low", strides=[2, 2]), conv("low", "lowest")]
    constants = {}
    if how == "scales":
        constants = {"scales": np.float32([1, 1, 2, 2])}
        nodes += [helper.make_node("Resize", ["lowest", "", "scales"], ["up"])]
    elif how == "sides":
        constants = {"sides": np.int64([1, CHANNELS, 32, 48])}
        nodes += [helper.make_node("Resize", ["lowest", "", "", "sides"], ["up"])]
    elif how == "sides of the skip":
        nodes += [
            helper.make_node("Shape", ["down"], ["sides"]),
            helper.make_node("Resize", ["lowest", "", "", "sides"], ["up"]),
        ]
    else:
        nodes += [conv("lowest", "up", op="ConvTranspose", strides=[2, 2])]
    nodes += [helper.make_node("Add", ["up", "down"], ["s"]), conv("s", "y")]
    found = pitches(tmp_path, nodes, constants)
    assert (found["lowest"], found["y"]) == ((4.0, 4.0), (2.0, 2.0))


def test_slices_with_steps_and_exchanged_axes_are_followed(tmp_path):
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axes", "steps"], ["cut"]),
        conv("cut", "a"),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 2]),
        conv("t", "y"),
    ]
    constants = {name: np.int64([value]) for name, value in (("start", 0), ("end", 64), ("axes", 2), ("steps", 2))}
    assert pitches(tmp_path, nodes, constants) == {"a": (2.0, 1.0), "y": (1.0, 2.0)}


def test_shuffled_channels_keep_the_pitch_and_windows_have_none(tmp_path):
    def reshaped(*shapes):
        nodes, before = [conv("x", "a", strides=[2, 2])], "a"
        for number in range(len(shapes)):
            nodes += [helper.make_node("Reshape", [before, f"shape{number}"], [f"r{number}"])]
            before = f"r{number}"
        constants = {f"shape{number}": np.int64(shape) for number, shape in enumerate(shapes)}
        return pitches(tmp_path, [*nodes, conv(before, "y")], constants)["y"]

    assert reshaped((1, 2, 2, 32, 48), (1, CHANNELS, 32, 48)) == (2.0, 2.0)
    assert reshaped((2, 2, 32 * 48), (1, CHANNELS, 32, 48)) == (2.0, 2.0)
    assert reshaped((-1, CHANNELS, 8, 8)) is None


def test_a_weight_that_is_used_at_two_pitches_has_none(tmp_path):
    nodes = [conv("x", "a"), helper.make_node("Conv", ["a", "a.weight"], ["b"], group=CHANNELS, strides=[2, 2])]
    again = helper.make_node("Conv", ["b", "a.weight"], ["y"], group=CHANNELS)
    assert pitches(tmp_path, nodes)["a"] == (1.0, 1.0)
    assert pitches(tmp_path, [*nodes, again])["a"] is None


def test_an_operator_that_is_not_known_ends_the_pitch(tmp_path):
    nodes = [conv("x", "a"), helper.make_node("GridSample", ["a", "grid"], ["g"]), conv("g", "y")]
    assert pitches(tmp_path, nodes, {"grid": np.zeros((1, 8, 8, 2), np.float32)}) == {"a": (1.0, 1.0), "y": None}


def test_graphs_of_tensorflow_lite(tmp_path):
    kernels = np.ones((1, 3, 3, CHANNELS), np.float32)
    tensors = [T("x", (1, 65, 65, CHANNELS)), constant("a/depthwise", kernels), T("a", (1, 33, 33, CHANNELS))]
    tensors += [T("up", (1, 66, 66, CHANNELS)), constant("b/depthwise", kernels), T("b", (1, 33, 33, CHANNELS))]
    tensors += [T("p", (1, 17, 17, CHANNELS)), constant("c/depthwise", kernels), T("c", (1, 17, 17, CHANNELS))]
    strides = {"StrideH": 2, "StrideW": 2}
    operators = [
        Op("DEPTHWISE_CONV_2D", (0, 1), (2,), strides),
        Op("RESIZE_BILINEAR", (2,), (3,), {}),
        Op("DEPTHWISE_CONV_2D", (3, 4), (5,), strides),
        Op("RELU", (5,), (6,), {}),
        Op("DEPTHWISE_CONV_2D", (5, 7), (8,), {}),
    ]
    (tmp_path / "net.tflite").write_bytes(model((tensors, operators)))
    found = [layer.pitch for layer in sk.extract(tmp_path / "net.tflite").layers]
    assert found == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 7, groups=4),  # without padding: sides are no multiples of those of the input
        nn.MaxPool2d(3, 2),
        nn.Conv2d(4, 4, 3, groups=4, stride=(2, 1)),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.ConvTranspose2d(4, 4, 3, stride=2, groups=4),
    ).train()


def test_modules_run_on_the_meta_device_and_are_left_as_they_are():
    module, calls = network(), []
    module[2].register_forward_hook(lambda *_: calls.append("ran"))
    before, state = {key: value.clone() for key, value in module.state_dict().items()}, torch.get_rng_state()
    bank = sk.extract(module, kinds="all")
    assert [layer.pitch for layer in bank.layers] == [(1, 1), (4, 4), (8, 8), (16, 8), (8, 4)]
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not calls
    assert all(one.training for one in module.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_a_convnext_has_large_kernels_at_four_pitches():
    layers = [nn.Conv2d(3, 8, 4, stride=4)]
    for stage in range(4):
        layers += [nn.Conv2d(8, 8, 2, stride=2)] if stage else []
        layers += [nn.Conv2d(8, 8, 7, padding=3, groups=8)]
    found = [layer.pitch for layer in sk.extract(nn.Sequential(*layers)).layers]
    assert found == [(4, 4), (8, 8), (16, 16), (32, 32)]


class _Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4)

    def forward(self, image):
        value = self.stem(image)
        return self.head(value), self.head(value[..., ::2, ::2])


class _TwoInputs(_Pyramid):
    def forward(self, image, other):
        return self.head(self.stem(image) + other)


@pytest.mark.parametrize("source", [_Pyramid(), _TwoInputs(), network().state_dict()])
def test_no_pitch_where_it_is_not_one_number_or_not_told(source):
    bank = sk.extract(source)
    assert {layer.pitch for layer in bank.layers} == {None}
    assert pc.count(sk.fit(bank).to_arrow()["pitch"]).as_py() == 0


def test_sounds_and_volumes_have_a_pitch_for_each_axis():
    sound = nn.Sequential(nn.Conv1d(1, 4, 10, stride=5), nn.Conv1d(4, 4, 5, groups=4))
    volume = nn.Sequential(nn.Conv3d(1, 4, 3, stride=(1, 2, 2)), nn.Conv3d(4, 4, 3, groups=4))
    assert [sk.extract(one).layers[0].pitch for one in (sound, volume)] == [(5,), (1, 2, 2)]


def test_patches_that_become_channels_before_the_first_convolution_count():
    network = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 1), nn.Conv2d(8, 8, 5, groups=8))
    assert sk.extract(network).layers[0].pitch == (2.0, 2.0)


def test_tables_have_the_geometric_mean():
    bank = sk.extract(network())
    column = sk.fit(bank).to_arrow()["pitch"].to_pylist()
    assert column[::4] == pytest.approx([4, 8, 128**0.5])
    assert [layer.pitch for layer in bank.with_filters([layer.kernels for layer in bank]).layers][1] == (8, 8)
