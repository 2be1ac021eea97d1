"""Grouped and ordinary convolutions, which are read where they are asked for."""

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from axes_network import CONVOLUTIONS, DEPTHWISE, GROUPED, ORDINARY, TRANSPOSED, example, network
from fuzz.targets.tflite_models import Op, T, constant, model
from onnx_inputs import convolution, save
from test_axes import described, keras_file
from torch import nn

from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError

AXES = pytest.mark.parametrize("axes", [1, 2, 3])
NAMES = {"depthwise": DEPTHWISE, "grouped": GROUPED, "ordinary": ORDINARY}


def impulse_responses(layer):
    """Return what a layer answers to an impulse in each input channel: its kernels, by output and input channel."""
    axes, size = layer.weight.ndim - 2, layer.kernel_size
    with torch.no_grad():
        plain = type(layer)(layer.in_channels, layer.out_channels, size, groups=layer.groups, bias=False)
        plain.weight.copy_(layer.weight)
        images = torch.zeros(layer.in_channels, layer.in_channels, *(2 * side - 1 for side in size))
        middle = tuple(side - 1 for side in size)
        for channel in range(layer.in_channels):
            images[(channel, channel, *middle)] = 1
        answers = plain(images).transpose(0, 1)
    if layer.transposed:
        inside = tuple(slice(side - 1, 2 * side - 1) for side in size)
        return answers[(slice(None), slice(None), *inside)]
    return answers.flip(tuple(range(2, 2 + axes)))  # a convolution is a correlation


def assert_read(bank, net, kinds, *, strided=True):
    expected = [name for name in map(str, range(len(net))) if any(name in NAMES[kind] for kind in kinds)]
    assert [layer.name for layer in bank.layers] == expected
    for layer in bank.layers:
        module = net.get_submodule(layer.name)
        answers = impulse_responses(module)
        inputs = module.in_channels // module.groups
        assert layer.name in NAMES[layer.kind]
        assert layer.channels == (None if layer.kind == "depthwise" else (module.out_channels, inputs))
        kernels = layer.kernels.unflatten(0, layer.channels or (module.out_channels, 1))
        for output in range(module.out_channels):
            first = output // (module.out_channels // module.groups) * inputs
            assert torch.allclose(kernels[output], answers[output, first : first + inputs], atol=1e-6)
        assert not strided or layer.stride == module.stride[0]


@AXES
@pytest.mark.parametrize("kinds", ["grouped", "ordinary", ("depthwise", "ordinary"), "all"])
def test_a_module(kinds, axes):
    net = network(axes)
    asked = NAMES if kinds == "all" else [kinds] if isinstance(kinds, str) else kinds
    bank = extract(net, kinds=kinds)
    assert_read(bank, net, asked)
    assert [one.name for one in bank.left_out] == ([] if "grouped" in asked else list(GROUPED))


@AXES
def test_an_exported_graph(axes, tmp_path):
    net = network(axes).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter uses what torch itself calls deprecated
        options = {"dynamo": True, "verbose": False, "external_data": False, "optimize": False}
        torch.onnx.export(net, (example(axes),), tmp_path / "net.onnx", **options)
    assert_read(extract(tmp_path / "net.onnx", kinds="all"), net, NAMES)
    assert [one.name for one in extract(tmp_path / "net.onnx").left_out] == list(GROUPED)
    assert_read(extract(tmp_path / "net.onnx", kinds="ordinary"), net, ["ordinary"])
    assert open_source(tmp_path / "net.onnx").ordinary == open_source(net).ordinary == len(ORDINARY)


@AXES
def test_weights_without_a_graph_count_all_but_depthwise_layers_as_ordinary(axes):
    net = network(axes)
    bank = extract(net.state_dict(), kinds="all")
    shape_of_depthwise = "8" if axes == 2 else ""  # a transposed convolution, which for two axes is read as one
    kinds = {layer.name: layer.kind for layer in bank.layers}
    assert kinds == {
        name: "depthwise" if name in (*DEPTHWISE, shape_of_depthwise) else "ordinary"
        for names in NAMES.values()
        for name in names
    }
    if axes == 2:  # some of one and of three axes are left out with a reason
        assert open_source(net.state_dict()).ordinary == list(kinds.values()).count("ordinary")
    layers = {layer.name: layer for layer in bank.layers}
    known = extract(net, kinds="all")
    for layer in known.layers:
        if layer.name not in DEPTHWISE and layer.name != "8":
            assert layers[layer.name].channels == layer.channels
        assert torch.equal(layers[layer.name].kernels, layer.kernels)


def test_grouped_convolutions_of_weights_without_a_graph():
    state = network(2).state_dict()
    say = "weights without a graph do not say how many groups a convolution has"
    assert [note[: len(say)] for note in extract(state, kinds=("depthwise", "grouped")).notes] == [say]
    with pytest.raises(CheckpointError, match=f"has no grouped convolutions to read; {say}"):
        extract(state, kinds="grouped")


def test_the_first_layer_of_images_of_one_channel_is_ordinary():
    state = {"conv1.weight": torch.rand(6, 1, 5, 5), "conv2.weight": torch.rand(16, 6, 5, 5)}
    bank = extract(state | {"fc.weight": torch.rand(2, 4)}, kinds="ordinary")
    assert [(layer.name, layer.channels) for layer in bank.layers] == [("conv1", (6, 1)), ("conv2", (16, 6))]


def test_what_may_be_depthwise_or_ordinary_is_read_where_both_are_asked_for():
    state = {"wave.weight": torch.rand(8, 1, 16), "next.weight": torch.rand(8, 8, 3), "next.bias": torch.rand(8)}
    assert [layer.name for layer in extract(state, kinds="all").layers] == ["wave", "next"]
    bank = extract(state, kinds="ordinary")
    assert ([layer.name for layer in bank.layers], [one.name for one in bank.left_out]) == (["next"], ["wave"])


@pytest.mark.parametrize(
    ("key", "shape", "reason"),
    [
        ("experts.weight", (4, 16, 16), "it can be a convolution with kernels of one axis, or several linear layers"),
        ("conv.kernel", (3, 3, 8, 16), "its channels stand last, as in Keras and JAX"),
        ("conv.weight_v", (8, 8, 3, 3), "it is a part of a computed weight"),
    ],
)
def test_what_is_no_ordinary_convolution_is_left_out_with_its_reason(key, shape, reason):
    bank = extract({"stem.weight": torch.rand(8, 3, 3, 3), key: torch.rand(shape)}, kinds="ordinary")
    assert [layer.name for layer in bank.layers] == ["stem"]
    (one,) = bank.left_out
    assert one.reason.startswith(reason)


def test_sparse_convolutions_are_ordinary_too():
    weight = torch.rand(16, 8, 3, 3)
    state = {"enc.dwconv.kernel": torch.rand(49, 8), "enc.down.kernel": weight.permute(3, 2, 1, 0).reshape(9, 8, 16)}
    bank = extract(state | {"enc.down.bias": torch.rand(1, 16)}, kinds="all")
    assert [(layer.name, layer.kind) for layer in bank.layers] == [
        ("enc.dwconv", "depthwise"),
        ("enc.down", "ordinary"),
    ]
    assert torch.equal(bank.layers[1].kernels.unflatten(0, (16, 8)), weight)


@pytest.mark.parametrize("found", [{"best_model": 1.0, "last_model": 2.0}, {"ema": 1.0, "model": 2.0}])
def test_one_of_several_copies_is_read(found):
    tree = {name: {"stem.weight": torch.full((8, 3, 3, 3), value)} for name, value in found.items()}
    (layer,) = extract(tree, kinds="ordinary").layers
    assert bool((layer.kernels == 1).all())
    flat = {f"{name}.{key}": value for name, part in tree.items() for key, value in part.items()}
    bank = extract(flat, kinds="ordinary")
    assert bool((bank.layers[0].kernels == 1).all())
    first, second = found
    assert bank.notes == (
        f"weights are read from the entry {first!r}; the dict also holds {second!r} (choose with --weights)",
    )


def test_the_last_of_numbered_networks_is_read():
    tree = {str(at): {"stem.weight": torch.full((8, 3, 3, 3), float(at))} for at in range(3)}
    assert bool((extract(tree, kinds="ordinary").layers[0].kernels == 2).all())


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_layer_is_named_where_it_is_asked_for():
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.LazyConv2d(4, 3), nn.Conv2d(4, 4, 3, groups=4))
    assert [layer.name for layer in extract(net).layers] == ["2"]
    with pytest.raises(CheckpointError, match="layer '1' is lazy and has no weights yet; run the network once"):
        extract(net, kinds="ordinary")


RNG = np.random.default_rng(0)
KERAS = {
    "conv2d": RNG.standard_normal((3, 4, 5, 6)).astype("f4"),
    "conv2d_1": RNG.standard_normal((3, 4, 2, 6)).astype("f4"),
    "conv2d_transpose": RNG.standard_normal((3, 4, 6, 5)).astype("f4"),
    "depthwise_conv2d": RNG.standard_normal((3, 4, 1, 6)).astype("f4"),
    "conv1d": RNG.standard_normal((7, 5, 6)).astype("f4"),
}
LAYERS = [
    described("Conv2D", "plain", strides=[1, 1]),
    described("Conv2D", "grouped", groups=3),
    described("Conv2DTranspose", "up"),
    described("DepthwiseConv2D", "of_one"),
    described("Conv1D", "time"),
]


@pytest.mark.parametrize("with_configuration", [False, True])
def test_keras(with_configuration, tmp_path):
    path = keras_file(tmp_path, KERAS, LAYERS if with_configuration else ())
    bank = extract(path, kinds="all")
    kernels = {layer.name: layer.kernels.unflatten(0, layer.channels) for layer in bank.layers}
    names = ("plain", "grouped", "up", "of_one", "time") if with_configuration else tuple(KERAS)
    assert set(kernels) == set(names)
    plain, grouped, up, of_one, time = (torch.from_numpy(values) for values in KERAS.values())
    assert torch.equal(kernels[names[0]], plain.permute(3, 2, 0, 1))
    assert torch.equal(kernels[names[1]], grouped.permute(3, 2, 0, 1))
    assert torch.equal(kernels[names[2]], up.permute(2, 3, 0, 1))
    assert torch.equal(kernels[names[3]], of_one.permute(3, 2, 0, 1))
    assert torch.equal(kernels[names[4]], time.permute(2, 1, 0))
    assert {layer.name: layer.kind for layer in bank.layers}[names[1]] == (
        "grouped" if with_configuration else "ordinary"
    )
    assert bank.left_out == ()
    assert open_source(path).ordinary == (3 if with_configuration else 4)
    with pytest.raises(CheckpointError, match="left out: "):
        extract(path)


def test_tensorflow_lite(tmp_path):
    weights = {
        "plain": ("CONV_2D", (6, 3, 4, 5), (1, 9, 9, 5)),
        "grouped": ("CONV_2D", (6, 3, 4, 2), (1, 9, 9, 4)),
        "volume": ("CONV_3D", (2, 3, 4, 5, 6), (1, 9, 9, 9, 5)),
        "of_one": ("DEPTHWISE_CONV_2D", (1, 3, 4, 6), (1, 9, 9, 1)),
    }
    arrays = {name: RNG.standard_normal(shape).astype("f4") for name, (_, shape, _) in weights.items()}
    arrays["up"] = RNG.standard_normal((6, 3, 4, 5)).astype("f4")
    tensors = [constant(name, array) for name, array in arrays.items()]
    operators = []
    for place, (kind, _, signal) in enumerate(weights.values()):
        tensors.append(T("x", signal))
        operators.append(Op(kind, (len(tensors) - 1, place), (len(tensors) - 1,)))
    tensors += [constant("size", np.int32([1, 9, 9, 6])), T("x", (1, 9, 9, 5))]
    operators.append(Op("TRANSPOSE_CONV", (len(tensors) - 2, 4, len(tensors) - 1), (len(tensors) - 1,)))
    (tmp_path / "net.tflite").write_bytes(model((tensors, operators)))
    bank = extract(tmp_path / "net.tflite", kinds="all")
    kernels = {layer.name: layer.kernels.unflatten(0, layer.channels) for layer in bank.layers}
    orders = {"plain": "oyxi", "grouped": "oyxi", "volume": "zyxio", "of_one": "iyxo", "up": "oyxi"}
    for name, order in orders.items():
        axes = [order.index(axis) for axis in "oizyx" if axis in order]
        assert torch.equal(kernels[name], torch.from_numpy(arrays[name]).permute(axes))
    assert {layer.name for layer in bank.layers if layer.kind == "grouped"} == {"grouped"}
    assert {one.name for one in open_source(tmp_path / "net.tflite").left_out} == {"grouped", "of_one"}
    assert open_source(tmp_path / "net.tflite").ordinary == 3


def test_weights_in_blocks_that_are_not_depthwise_are_named(tmp_path):
    weight = np.ones((8, 8, 3, 3), "f4")
    path = save(convolution(weight, domain="com.microsoft.nchwc", group=1), tmp_path)
    with pytest.raises(CheckpointError, match="and the blocks of depthwise weights alone are put in order"):
        extract(path, kinds="ordinary")


@pytest.mark.parametrize("kinds", ["pointwise", "", (), ("all", "other"), None, 3, [["all"]], "x" * 1000])
def test_kinds_that_there_are_not(kinds, net):
    with pytest.raises(CheckpointError, match="kinds must be 'depthwise', 'grouped', 'ordinary' or 'all', or several"):
        extract(net, kinds=kinds)


@AXES
def test_kernels_of_one_value_are_no_filters(axes):
    conv, up = CONVOLUTIONS[axes], TRANSPOSED[axes]
    net = nn.Sequential(conv(4, 4, 1), conv(4, 4, 1, groups=2), up(4, 4, 1))
    for source in (net, net.state_dict()):
        with pytest.raises(CheckpointError, match="has no convolutions to read; it "):
            extract(source, kinds="all")


def test_the_way_to_read_ordinary_convolutions_is_told_where_there_are_no_others():
    with pytest.raises(
        CheckpointError, match=r"it has 1 convolution .*; .* \(--kinds ordinary\) reads ordinary convolutions$"
    ):
        extract(nn.Conv2d(3, 4, 5))
    with pytest.raises(CheckpointError, match=r"has no grouped convolutions to read; .* reads ordinary convolutions$"):
        extract(nn.Conv2d(3, 4, 5), kinds="grouped")


def test_a_residual_network_is_read_with_one_layer_copied_at_a_time():
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet50", pretrained=False)
    bank = extract(net, kinds="all")
    shapes = [tuple(layer.weight.shape) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    wide = [shape for shape in shapes if shape[2] > 1]
    assert [layer.channels for layer in bank.layers] == [shape[:2] for shape in wide]
    assert len(bank) == sum(outputs * inputs for outputs, inputs, *_ in wide)
    stored = sum(layer.kernels.untyped_storage().nbytes() for layer in bank.layers)
    assert stored == 4 * sum(layer.kernels.numel() for layer in bank.layers)


def test_layers_are_copied_one_by_one(tmp_path):
    net = nn.Sequential(*(nn.Conv2d(64, 64, 3) for _ in range(20)))
    array = {key: value.numpy() for key, value in net.state_dict().items()}
    np.savez(tmp_path / "net.npz", **array)
    opened = open_source(tmp_path / "net.npz", kinds="ordinary")
    tracemalloc.start()
    for _ in opened.stream():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * net[0].weight.numel() * 4
