"""Depthwise kernels of one and of three axes: from every container, with what a graph says of them."""

import io
import json
import tarfile
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import torch
from axes_network import CONVOLUTIONS, DEPTHWISE, SIDES, example, network
from fuzz.targets.tflite_models import Op, T, constant, model
from onnx_inputs import convolution, save
from safetensors.torch import save_file
from torch import nn

from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError

BOTH = pytest.mark.parametrize("axes", [1, 3])


def assert_depthwise_of(bank, net, *, graph):
    """Compare the depthwise layers with the weights of the network, bit by bit."""
    assert [layer.name for layer in bank.layers] == list(DEPTHWISE)
    for layer in bank.layers:
        weight = net.get_submodule(layer.name).weight.detach()
        assert torch.equal(layer.kernels, weight[:, 0])
        assert (layer.axes, layer.size) == (weight.ndim - 2, tuple(weight.shape[2:]))
        assert (layer.kind, layer.channels) == ("depthwise", None)
    given = [(layer.stride, layer.dilation) for layer in bank.layers]
    assert given == ([(1, 1), (2, 2)] if graph else [(None, None)] * 2)


def write_nemo(net, path):
    torch.save(net.state_dict(), path.with_suffix(".ckpt"))
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path.with_suffix(".ckpt"), "./model_weights.ckpt")


def write_script(net, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own TorchScript deprecated
        torch.jit.trace(net.eval(), example(net[0].weight.ndim - 2)).save(path)


def write_program(net, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net.eval(), (example(net[0].weight.ndim - 2),))
        torch.export.save(program, path)


def write_old_program(net, path):
    state = io.BytesIO()
    torch.save(net.state_dict(), state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", state.getvalue())


def write_distributed(net, path):
    from torch.distributed import checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.save(net.state_dict(), checkpoint_id=path, no_dist=True)


WEIGHTS = {
    "net.pth": lambda net, path: torch.save(net.state_dict(), path),
    "nested.ckpt": lambda net, path: torch.save({"state_dict": net.state_dict(), "epoch": 3}, path),
    "old.pth": lambda net, path: torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False),
    "module.pt": torch.save,
    "net.safetensors": lambda net, path: save_file(net.state_dict(), path),
    "net.npz": lambda net, path: np.savez(path, **{key: value.numpy() for key, value in net.state_dict().items()}),
    "net.nemo": write_nemo,
    "script.pt": write_script,
    "net.pt2": write_program,
    "older.pt2": write_old_program,
    "folder": write_distributed,
}


@BOTH
@pytest.mark.parametrize("name", WEIGHTS)
def test_every_container_of_weights(name, axes, tmp_path):
    net = network(axes)
    WEIGHTS[name](net, tmp_path / name)
    assert_depthwise_of(extract(tmp_path / name), net, graph=False)


@BOTH
def test_safetensors_of_blocks_whose_names_stand_in_another_order(axes, tmp_path):
    conv = CONVOLUTIONS[axes]
    blocks = {str(at): nn.ModuleDict({"up": conv(6, 12, 1), "act": conv(12, 12, 3, groups=12)}) for at in range(3)}
    net = nn.ModuleDict({"blocks": nn.ModuleDict(blocks), "head": nn.Linear(6, 2)})
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    names = [layer.name for layer in extract(tmp_path / "net.safetensors").layers]
    assert names == [f"blocks.{at}.act" for at in range(3)]


@BOTH
def test_a_module(axes):
    net = network(axes)
    assert_depthwise_of(extract(net), net, graph=True)


@BOTH
def test_a_module_whose_weights_are_computed(axes):
    net = network(axes)
    layer = nn.utils.parametrizations.weight_norm(net[1])
    nn.utils.prune.l1_unstructured(net[4], "weight", 0.5)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)
    bank = extract(net)
    assert torch.equal(bank.layers[0].kernels, layer.weight[:, 0].detach())
    assert int((bank.layers[1].kernels == 0).sum()) == bank.layers[1].kernels.numel() // 2
    read = {layer.name: layer.kernels for layer in extract(net.state_dict()).layers}
    for layer in bank.layers:
        torch.testing.assert_close(read[layer.name], layer.kernels)


@BOTH
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_module(axes):
    layer = {1: nn.LazyConv1d, 3: nn.LazyConv3d}[axes](4, 3, groups=4)
    with pytest.raises(CheckpointError, match="layer '0' is lazy and has no weights yet; run the network once"):
        extract(nn.Sequential(layer))
    layer(torch.zeros(1, 4, *(9,) * axes))
    assert extract(nn.Sequential(layer)).sizes == ((3,) * axes,)


def test_strides_that_differ_are_noted():
    bank = extract(nn.Conv3d(4, 4, 3, groups=4, stride=(1, 2, 2), dilation=3))
    assert (bank.layers[0].stride, bank.layers[0].dilation) == (2, 3)
    assert bank.notes == ("layer 'weight' has stride 1x2x2; the larger is recorded",)


def test_parameters_of_a_module_that_are_used_elsewhere_are_listed():
    net = network(1)
    net.register_parameter("mine", nn.Parameter(torch.ones(8, 1, 5)))
    net.register_buffer("basis", torch.ones(8, 1, 3, 3, 3))
    assert [(one.name, "no convolution of torch" in one.reason) for one in extract(net).left_out[-2:]] == [
        ("mine", True),
        ("basis", True),
    ]


@BOTH
def test_an_exported_graph(axes, tmp_path):
    net = network(axes).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter uses what torch itself calls deprecated
        options = {"dynamo": True, "verbose": False, "external_data": False, "optimize": False}
        torch.onnx.export(net, (example(axes),), tmp_path / "net.onnx", **options)
    assert_depthwise_of(extract(tmp_path / "net.onnx"), net, graph=True)


@pytest.mark.parametrize(("shape", "name"), [((4, 1, 7), "3"), ((4, 1, 3, 4, 5), "2x1x1")])
def test_a_graph_by_hand(shape, name, tmp_path):
    weight = np.random.default_rng(0).normal(size=shape).astype("f4")
    strides = [int(side) for side in name.split("x")]
    bank = extract(save(convolution(weight, strides=strides), tmp_path))
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(weight[:, 0]))
    assert (bank.layers[0].stride, bank.layers[0].dilation) == (max(strides), 1)
    assert len(bank.notes) == (len(strides) > 1)


@pytest.mark.parametrize("strides", [[1], [1, 1, 1], [1, 0]])
def test_a_graph_whose_strides_are_not_those_of_its_kernels(strides, tmp_path):
    weight = np.ones((4, 1, 3, 3), "f4")
    with pytest.raises(CheckpointError, match=r"left out: 'conv' \(the attribute 'strides' of its Conv is damaged"):
        extract(save(convolution(weight, strides=strides), tmp_path))


def described(class_name, name, **settings):
    return {"class_name": class_name, "config": {"name": name, **settings}}


def keras_file(tmp_path, weights, layers=()):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for place, values in weights.items():
            file[f"layers/{place}/vars/0"] = values
    if not layers:
        return tmp_path / "m.weights.h5"
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", json.dumps(described("Sequential", "net", layers=layers)))
        file.write(tmp_path / "m.weights.h5", "model.weights.h5")
    return tmp_path / "m.keras"


RNG = np.random.default_rng(0)
PER_CHANNEL = RNG.standard_normal((9, 4, 2)).astype("f4")
OF_GROUPS_1D = RNG.standard_normal((7, 1, 8)).astype("f4")
OF_GROUPS_3D = RNG.standard_normal((3, 4, 5, 1, 8)).astype("f4")


@pytest.mark.parametrize("described_too", [False, True])
def test_depthwise_layers_of_keras_with_one_axis(described_too, tmp_path):
    settings = described("DepthwiseConv1D", "mine", strides=[2], dilation_rate=[1])
    bank = extract(keras_file(tmp_path, {"depthwise_conv1d": PER_CHANNEL}, [settings] if described_too else ()))
    expected = [PER_CHANNEL[:, channel, number] for channel in range(4) for number in range(2)]
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(np.stack(expected)))
    assert bank.layers[0].stride == (2 if described_too else None)


def test_convolutions_of_keras_with_a_group_for_each_channel(tmp_path):
    layers = [
        described("Conv1D", "time", groups=8, strides=[3], dilation_rate=[1]),
        described("Conv3D", "volume", groups=8, strides=[1, 2, 2], dilation_rate=[1, 1, 1]),
    ]
    bank = extract(keras_file(tmp_path, {"conv1d": OF_GROUPS_1D, "conv3d": OF_GROUPS_3D}, layers))
    assert [(layer.name, layer.stride) for layer in bank.layers] == [("time", 3), ("volume", 2)]
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(OF_GROUPS_1D[:, 0].T))
    assert torch.equal(bank.layers[1].kernels, torch.from_numpy(OF_GROUPS_3D[..., 0, :]).permute(3, 0, 1, 2))
    assert bank.notes == ("layer 'volume' has stride 1x2x2; the larger is recorded",)


def test_kernels_of_keras_without_a_configuration_that_may_be_ordinary_are_listed(tmp_path):
    path = keras_file(tmp_path, {"depthwise_conv1d": PER_CHANNEL, "conv1d": OF_GROUPS_1D, "conv3d": OF_GROUPS_3D})
    bank = extract(path)
    assert [layer.name for layer in bank.layers] == ["depthwise_conv1d"]
    assert [(one.name, one.reason[:22]) for one in bank.left_out] == [
        ("conv1d", "it can be depthwise, o"),
        ("conv3d", "it can be depthwise, o"),
    ]


def read_tflite(tmp_path, weight, signal, kind, **options):
    tensors = [T("x", signal), constant("net/w", weight), T("y", ())]
    (tmp_path / "net.tflite").write_bytes(model((tensors, [Op(kind, (0, 1), (2,), options)])))
    return extract(tmp_path / "net.tflite")


def test_graphs_of_tensorflow_lite(tmp_path):
    """One axis is a row there, and stays one."""
    bank = read_tflite(tmp_path, RNG.standard_normal((1, 1, 9, 6)).astype("f4"), (1, 1, 40, 6), "DEPTHWISE_CONV_2D")
    assert bank.sizes == ((1, 9),)
    weight = RNG.standard_normal((3, 4, 5, 1, 6)).astype("f4")
    bank = read_tflite(tmp_path, weight, (1, 9, 9, 9, 6), "CONV_3D")
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(weight[..., 0, :]).permute(3, 0, 1, 2))
    assert bank.layers[0].stride is None


def test_sizes_of_a_network_of_several_axes_are_those_of_its_layers():
    net = nn.ModuleDict({str(axes): CONVOLUTIONS[axes](4, 4, SIDES[axes], groups=4) for axes in (1, 2, 3)})
    bank = extract(net)
    assert [layer.size for layer in bank.layers] == [(5,), (4, 5), (3, 4, 5)]
    assert set(bank.sizes) == {(5,), (4, 5), (3, 4, 5)}
    assert len(bank) == 12


@BOTH
def test_each_layer_leads_back_to_its_weight(axes):
    net = network(axes)
    opened = open_source(net)
    assert all(torch.equal(opened.load(layer.key), net.get_parameter(layer.key)) for layer in opened.layers)


@BOTH
@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_of_other_types_are_refused_by_name(axes, dtype):
    state = {"dwconv.weight": torch.ones(4, 1, *(3,) * axes, dtype=dtype)}
    with pytest.raises(CheckpointError, match=r"layer 'dwconv' holds .* values, not floating-point filters"):
        extract(state)
