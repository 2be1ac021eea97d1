"""Every bad input is one clear sentence."""

import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
FOREIGN = {
    "a text file": b"this is not a network\n" * 9,
    "an HTML page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "a PNG image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "a gzip archive": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a JSON file": b'{"error": "not found"}',
    "a tar archive": bytes(257) + b"ustar\x0000" + bytes(200),
    "a GGUF file": b"GGUF\x03\x00\x00\x00",
    "of an unknown kind": None,
}
NAMES = {"model.pth": "PyTorch", "model.safetensors": "safetensors", "model.onnx": "ONNX", "model.h5": "Keras"}
NAMES["model.tflite"] = "TensorFlow Lite"


def refused(source, match, **options):
    with pytest.raises(CheckpointError, match=match) as caught:
        extract(source, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if FOREIGN[kind]])
def test_another_kind_of_file_behind_the_name(kind, name, tmp_path):
    (tmp_path / name).write_bytes(FOREIGN[kind])
    refused(tmp_path / name, rf"{name}: is {kind}, not a file of {NAMES[name]} weights; give one, or fetch it again")


def test_a_file_of_no_known_kind(tmp_path):
    (tmp_path / "model.dat").write_bytes(bytes(range(200, 256)))
    refused(tmp_path / "model.dat", "is of an unknown kind, not a file of safetensors, .*PyTorch, .* weights")


@pytest.mark.parametrize("name", NAMES)
def test_noise_behind_the_name(name, tmp_path):
    (tmp_path / name).write_bytes(bytes(range(200, 256)) * 9)
    refused(tmp_path / name, rf"{name}: is (damaged|no (ONNX|Keras|TensorFlow Lite) model)")


@pytest.mark.parametrize("name", NAMES)
def test_a_git_lfs_pointer(name, tmp_path):
    (tmp_path / name).write_bytes(LFS)
    refused(tmp_path / name, rf"{name}: is a Git LFS pointer, not the weights; run `git lfs pull`")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file(name, tmp_path):
    (tmp_path / name).touch()
    refused(tmp_path / name, rf"{name}: is empty")


def write_onnx(state, path):
    weight = onnx.numpy_helper.from_array(state["blocks.0.weight"].numpy(), "dw.weight")
    node = onnx.helper.make_node("Conv", ["x", "dw.weight"], ["y"], group=8)
    shape = onnx.helper.make_tensor_value_info
    x, y = (shape(name, onnx.TensorProto.FLOAT, [1, 8, None, None]) for name in "xy")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y], [weight])), path)


WRITERS = {
    "zip.pth": torch.save,
    "legacy.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "net.safetensors": save_file,
    "net.onnx": write_onnx,
}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_short(name, share, net, tmp_path):
    path = tmp_path / name
    WRITERS[name](net.state_dict(), path)
    assert len(extract(path)) > 0
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, rf"{name}: is (no ONNX model, or is )?(damaged|cut short)")


def test_a_file_that_is_missing(tmp_path):
    refused(tmp_path / "model.pth", r"model\.pth: no such file or folder; .* timm:NAME, hf:NAME or builtin:NAME")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file" / "model.pth", "no such file or folder")


def test_a_link_to_nothing_the_standard_input_and_code(tmp_path):
    (tmp_path / "model.pth").symlink_to("blobs/gone")
    refused(tmp_path / "model.pth", "is a link to blobs/gone, where there is nothing; fetch that file")
    refused("-", "the standard input is not read; give the path of a file")
    (tmp_path / "nets.py").write_text("def build(): ...")
    refused(tmp_path / "nets.py", r"is Python code and holds no weights; .* take .*nets\.py:FUNCTION")
    refused(f"{tmp_path}/nets.py:build", "names a function, where weights are read")


NOISE = bytes(range(200, 256))
NETWORKS = {
    "net.mlmodel": (b"\x08\x04\x12\x20" + NOISE, "a Core ML model"),  # which starts as an ONNX model
    "saved_model.pb": (b"\x08\x01\x12\x10" + NOISE, "a SavedModel of TensorFlow"),
    "net.xml": (b'<?xml version="1.0"?>\n<net name="n">', "an OpenVINO graph"),
    "net.param": (b"7767517\n3 3\n", "an ncnn graph"),
    "net.bin": (NOISE, "a file of ncnn weights"),
    "net.mat": (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    "net.ort": (b"\x20\0\0\0ORTM" + NOISE, "a model in the ORT format of onnxruntime"),
    "net.onnx": (b"\x08\0\0\0ORTM" + NOISE, "a model in the ORT format of onnxruntime"),
    "flax_model.msgpack": (NOISE, "a file of Flax weights"),
    "net.data-00000-of-00002": (NOISE, "a checkpoint of TensorFlow"),
    "inference.json": (b'{"base_code":{"magic":"pir","version":1}', "a graph of Paddle Inference"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_a_format_that_is_not_read(name, tmp_path):
    for file in {name, "net.param"}:
        (tmp_path / file).write_bytes(NETWORKS[file][0])
    refused(tmp_path / name, f"{name}: is {NETWORKS[name][1]}, a format that is not read; export the network to ONNX")


LISTED = "a file of TensorFlow.js weights, which a JSON file beside it lists; give that file"
UNLISTED = r"a file of TensorFlow.js weights, whose list of weights \(model.json\) is missing; fetch it into the same"
NO_WEIGHTS = "of an unknown kind, not a file of PyTorch weights; give one, or fetch it again"


@pytest.mark.parametrize(
    ("name", "beside", "content", "kind"),
    [
        ("face.bin", "face.json", '{"format": "graph-model"', LISTED),
        ("face.bin", "face.json", '{"a": 1}', NO_WEIGHTS),
        ("face.bin", "face-weights_manifest.json", '[{"weights": [', LISTED),
        ("group1-shard1of2.bin", "model.json", '{"modelTopology": {', LISTED),
        ("group1-shard1of2.bin", "model.json", '{"a": 1}', UNLISTED),
        ("group1-shard1of2.bin", "x", '{"modelTopology": {', UNLISTED),
        ("net.mlpackage/weights/weight.bin", "x", "{}", "a part of a Core ML package, a format that is not read"),
        ("net.bin", "x", "{}", NO_WEIGHTS),
    ],
)
def test_a_file_of_numbers_is_told_by_what_lies_beside_it(name, beside, content, kind, net, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(NOISE)
    (path.parent / beside).write_text(content)
    refused(path, f"{path.name}: is {kind}")
    torch.save(net.state_dict(), path)
    assert len(extract(path)) > 0


def test_a_folder_of_a_network_of_another_format_in_several_parts(tmp_path):
    for name in ("group1-shard1of2.bin", "group1-shard2of2.bin", "model.json"):
        (tmp_path / name).write_bytes(NOISE)
    refused(
        tmp_path, r"holds a file of TensorFlow\.js weights \(group1-shard1of2\.bin\), whose list of weights \(model"
    )


def test_the_content_of_a_file_comes_before_a_foreign_name(net, tmp_path):
    for name in ("net.t7", "net.weights", "net.pb"):
        torch.save(net.state_dict(), tmp_path / name)
        assert len(extract(tmp_path / name)) > 0
    write_onnx(net.state_dict(), tmp_path / "net.onnx")
    for name in ("model.ort", "model.pb", "model.engine"):
        shutil.copy(tmp_path / "net.onnx", tmp_path / name)
        assert len(extract(tmp_path / name)) > 0
    with h5py.File(tmp_path / "keras.weights", "w") as file:
        file.attrs["layer_names"], file.create_group("dw").attrs["weight_names"] = [b"dw"], [b"depthwise_kernel:0"]
        file["dw/depthwise_kernel:0"] = np.ones((3, 3, 8, 1), "f4")
    assert len(extract(tmp_path / "keras.weights")) == 8


def test_a_page_that_a_server_sent_is_called_a_page_whatever_its_name(tmp_path):
    (tmp_path / "flax_model.msgpack").write_text("<!DOCTYPE html><html>")
    refused(tmp_path / "flax_model.msgpack", "is an HTML page, not a file of")


def test_a_folder_that_is_called_as_code_is(net, tmp_path):
    (tmp_path / "net.py").mkdir()
    torch.save(net.state_dict(), tmp_path / "net.py" / "net.pth")
    assert len(extract(tmp_path / "net.py")) > 0
    torch.save(net.state_dict(), tmp_path / "x.py")
    assert len(extract(tmp_path / "x.py")) > 0


def test_a_folder_that_holds_a_network_of_another_format_or_in_a_folder(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(NOISE)
    refused(tmp_path, r"holds a SavedModel of TensorFlow \(saved_model\.pb\), a format that is not read; export")
    (tmp_path / "saved_model.pb").unlink()
    (tmp_path / "variables" / "best.pt").touch()
    refused(tmp_path, r"this folder holds no weights, but folders in it do; give one of them \(variables\)")


def test_a_file_that_may_not_be_read(net, tmp_path, monkeypatch):
    torch.save(net.state_dict(), tmp_path / "model.pth")

    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(os, "open", refuse)
    refused(tmp_path / "model.pth", r"model\.pth: cannot be read \(Permission denied\)")
    monkeypatch.setattr(Path, "iterdir", refuse)
    refused(tmp_path, r"cannot be read \(Permission denied\)")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "is not a regular file")


def test_a_zip_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "model.pth", r"model\.pth: is a zip archive of no format that is read")


def test_a_file_that_holds_no_dict(tmp_path):
    torch.save([torch.ones(4, 1, 3, 3)], tmp_path / "model.pth")
    refused(tmp_path / "model.pth", r"holds a list, not a dict of weights; save model\.state_dict\(\)")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({}, "holds no tensors by name, only an empty dict"),
        ({"epoch": 3, "name": "net"}, "holds no tensors by name, only values of type int and str"),
        ({"model": {"epoch": 3}}, "holds no tensors by name, only values of type dict"),
        ({"loss": torch.tensor(3.0)}, "holds no tensors by name, only values of type Tensor of one number"),
        ({"opt": {"dw.weight": torch.ones(4, 1, 3, 3)}}, ".*; left 'opt' alone, as a state of training by name"),
    ],
)
def test_a_dict_without_tensors(content, match, tmp_path):
    refused(content, f"the state dict: {match}")
    torch.save(content, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", rf"model\.pth: {match}")


def test_what_cannot_be_read_is_told_where_there_is_nothing_else(tmp_path):
    np.savez(tmp_path / "net.npz", state=np.array({"dw.weight": 3}, dtype=object))
    reason = r"that can be read; left out: 'state' \(its values are of the type 'object', not numbers\)"
    refused(tmp_path / "net.npz", f"holds no tensors by name {reason}")


def test_a_state_of_training_that_is_asked_for_is_not_left_alone():
    assert extract({"opt": {"dw.weight": torch.ones(4, 1, 3, 3)}}, weights="opt").notes == (
        "weights are read from the entry 'opt'",
    )


def test_names_that_are_numbers_or_bytes(tmp_path):
    weights = {0: torch.ones(4, 1, 3, 3), b"dw.weight": torch.ones(4, 1, 5, 5)}
    torch.save({b"model": weights}, tmp_path / "net.pth")
    for source in (weights, tmp_path / "net.pth"):
        assert [layer.name for layer in extract(source).layers] == ["dw"]
    assert [layer.name for layer in extract({0: weights[0], 1: weights[0]}).layers] == ["0", "1"]


def test_tensors_among_other_values_are_found(net, assert_filters_of):
    assert_filters_of(extract({"name": "net", "size": (3, 4), **net.state_dict(), "extra": None}), net, graph=False)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7)
        self.blocks = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 16, 1))
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)


INSTEAD = "has no depthwise layers to read; it has 4 convolutions with kernels 7x7, 3x3 and 1x1, and 1 linear layer; "
INSTEAD += r'kinds="ordinary" \(--kinds ordinary\) reads ordinary convolutions$'


def test_a_network_without_depthwise_layers(tmp_path):
    refused(
        Dense(), r"the module Dense: has no depthwise layers to read; left out: 'blocks\.0' \(it is a convolution of 2"
    )
    refused(Dense().state_dict(), INSTEAD)
    torch.save({"model": Dense().state_dict()}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", rf"model\.pth: {INSTEAD}")
    save_file(Dense().state_dict(), tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", rf"model\.safetensors: {INSTEAD}")


def test_a_network_without_convolutions():
    refused(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)), "no depthwise layers to read; it has 2 linear layers$")
    refused(nn.LayerNorm(3), "it has 2 tensors and none of them is a convolution$")
    refused(nn.ReLU(), "it holds no tensors$")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv1d(4, 4, 3, groups=2), "it is a convolution of 2 groups and not depthwise"),
        (nn.ConvTranspose2d(4, 4, 3, groups=4), "it is a transposed convolution of 4 groups"),
    ],
)
def test_grouped_convolutions_are_named_with_the_way_to_read_them(layer, reason):
    module = nn.ModuleDict({"a": nn.Sequential(layer)})
    refused(module, rf"no depthwise layers to read; left out: 'a\.0' \({reason}; kinds=.grouped. reads it\)$")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.complex64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_quantised_filters_are_refused_by_name(suffix, dtype, tmp_path):
    path = tmp_path / f"net{suffix}"
    state = {"stages.1.dw.weight": torch.ones(4, 1, 3, 3, dtype=dtype)}
    (torch.save if suffix == ".pth" else save_file)(state, path)
    name = str(dtype).removeprefix("torch.")
    refused(path, rf"layer 'stages\.1\.dw' holds {name} values, not floating-point filters; give the network before")


def test_weights_without_values():
    refused(
        {"dw.weight": torch.ones(4, 1, 3, 3, device="meta")}, "layer 'dw' has no values .on the meta device|meta device"
    )


@pytest.mark.parametrize("source", ["foo:bar", "vgg:net.pth", "huggingface:org/name"])
def test_an_unknown_prefix(source):
    prefix = source.partition(":")[0]
    refused(source, f"'{prefix}:' is no known prefix and no such file exists; give timm:NAME, hf:NAME or builtin:NAME$")


def test_a_file_with_a_colon_in_its_name(net, tmp_path, monkeypatch, assert_filters_of):
    monkeypatch.chdir(tmp_path)
    torch.save(net.state_dict(), "foo:bar.pth")
    assert_filters_of(extract("foo:bar.pth"), net, graph=False)


def test_an_address_of_a_kind_that_is_not_fetched():
    refused("s3://bucket/net.pth", "only addresses of the form https://SERVER/PATH are read; download the file")


@pytest.mark.parametrize("source", ["", "  ", None, 5, torch.ones(4, 1, 3, 3)])
def test_what_is_no_source(source):
    refused(source, "cannot read weights from .*; give a network, a path, a state dict, or timm:NAME")


@pytest.mark.parametrize("source", ["a\0b", "x" * 5000])
def test_what_can_be_no_path(source):
    refused(source, "cannot be read")


@pytest.mark.parametrize("name", WRITERS)
def test_a_choice_where_there_is_none(name, net, tmp_path):
    WRITERS[name](net.state_dict(), tmp_path / name)
    refused(
        tmp_path / name, rf"{name}: holds one set of weights and no 'params'; leave --weights out", weights="params"
    )


def test_a_choice_in_a_module(net):
    refused(net, "holds one set of weights and no 'params'", weights="params")


def test_a_safetensors_file_whose_name_is_no_text(net, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.safetensors")
    path.write_bytes(save(net.state_dict()))
    refused(path, r"caf\\udce9\.safetensors: has a name that is not UTF-8, as safetensors wants it; rename it")


def test_a_network_in_a_file_whose_name_is_no_text_has_a_printable_name(net, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.pth")
    torch.save(net.state_dict(), path)
    assert extract(path).model == r"caf\udce9"
