"""ONNX: what torch exports, and graphs by hand."""

import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_inputs import WEIGHT, convolution, save
from small_network import small_network

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError, MissingExtraError
from scalekeys.filters import LeftOut


@pytest.fixture(scope="module", params=["as it is", "optimised"])
def exported(request, tmp_path_factory):
    net, path = small_network(), tmp_path_factory.mktemp("exported") / "net.onnx"
    images, optimise = (torch.zeros(1, 3, 64, 64),), request.param == "optimised"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter uses what torch itself calls deprecated
        torch.onnx.export(net, images, path, dynamo=True, verbose=False, external_data=False, optimize=optimise)
    return net, path


def unscaled(filters):
    return filters / torch.linalg.vector_norm(filters, dim=(-2, -1), keepdim=True)


def test_an_export_is_read_like_its_module(exported):
    """The optimised graph has the batch norm after ``blocks.1`` folded into it, channel by channel."""
    net, path = exported
    bank, expected = extract(path), extract(net)
    assert bank.model == "net"
    for layer, other in zip(bank.layers, expected.layers, strict=True):
        assert layer.name == other.name
        assert (layer.stride, layer.dilation, layer.depth) == (other.stride, other.dilation, other.depth)
        if layer.name == "blocks.1" and not any(
            node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node
        ):
            torch.testing.assert_close(unscaled(layer.kernels), unscaled(other.kernels))
        else:
            assert torch.equal(layer.kernels, other.kernels)


def as_external(path, folder, size_threshold=0):
    model = onnx.load(path)
    onnx.save(
        model, folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=size_threshold
    )
    return folder / "net.onnx"


def test_values_in_another_file(exported, tmp_path):
    _, path = exported
    split = as_external(path, tmp_path)
    assert b"".join(t.raw_data for t in onnx.load(split, load_external_data=False).graph.initializer) == b""
    for layer, other in zip(extract(split).layers, extract(path).layers, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def test_only_the_depthwise_values_of_another_file_are_read(exported, tmp_path):
    _, path = exported
    split = as_external(path, tmp_path)
    content = bytearray(len((tmp_path / "net.data").read_bytes()))
    whole = (tmp_path / "net.data").read_bytes()
    for tensor in onnx.load(split, load_external_data=False).graph.initializer:
        if len(tensor.dims) == 4 and tensor.dims[1] == 1:
            where = {entry.key: entry.value for entry in tensor.external_data}
            start, length = int(where["offset"]), int(where["length"])
            content[start : start + length] = whole[start : start + length]
    (tmp_path / "net.data").write_bytes(content)
    for layer, other in zip(extract(split).layers, extract(path).layers, strict=True):
        assert torch.equal(layer.kernels, other.kernels)


def test_attributes(tmp_path):
    model = convolution(WEIGHT, strides=[2, 2], dilations=[3, 1])
    bank = extract(save(model, tmp_path))
    (layer,) = bank.layers
    assert (layer.name, layer.stride, layer.dilation) == ("dw", 2, 3)
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))
    assert bank.notes == ("layer 'dw' has dilation 3x1; the larger is recorded",)


def test_attributes_that_are_not_given_are_one(tmp_path):
    (layer,) = extract(save(convolution(WEIGHT), tmp_path)).layers
    assert (layer.stride, layer.dilation) == (1, 1)


@pytest.mark.parametrize(
    ("weight", "node", "expected"),
    [
        ("onnx::Conv_123", "/blocks/conv/Conv", "/blocks/conv/Conv"),
        ("142", "node_1", "node_1"),
        ("val_7", "node_conv2d_1", "node_conv2d_1"),
        ("onnx::Conv_123", "", "onnx::Conv_123"),
        ("stage.dw.weight", "node", "stage.dw"),
        ("depthwise_kernel:0", "node", "depthwise_kernel:0"),
    ],
)
def test_names(weight, node, expected, tmp_path):
    (layer,) = extract(save(convolution(WEIGHT, name=weight, node=node), tmp_path)).layers
    assert layer.name == expected


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("external", [False, True])
def test_types(dtype, external, tmp_path):
    rounded = {TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16}.get(dtype, torch.float64)
    values = torch.from_numpy(WEIGHT).to(rounded)
    raw = (
        values.view(torch.uint8).numpy().tobytes()
        if rounded == torch.float64
        else values.view(torch.int16).numpy().tobytes()
    )
    tensor = helper.make_tensor("dw.weight", dtype, WEIGHT.shape, raw, raw=True)
    path = save(convolution(None, stored=[tensor]), tmp_path)
    (layer,) = extract(as_external(path, tmp_path) if external else path).layers
    assert layer.kernels.dtype == (torch.float64 if rounded == torch.float64 else torch.float32)
    assert torch.equal(layer.kernels, values[:, 0].to(layer.kernels.dtype))


def constant(name):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(WEIGHT))


@pytest.mark.parametrize(
    "extra",
    [
        [constant("w")],
        [constant("a"), helper.make_node("Identity", ["a"], ["w"])],
        [constant("a"), helper.make_node("Cast", ["a"], ["b"], to=1), helper.make_node("Identity", ["b"], ["w"])],
    ],
)
def test_weights_that_are_handed_on(extra, tmp_path):
    (layer,) = extract(save(convolution(None, name="w", stored=[], extra=extra), tmp_path)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


def test_weights_that_are_known_only_when_the_network_runs_are_left_out_and_said_so(tmp_path):
    extra = [helper.make_node("Mul", ["k", "x"], ["w"]), helper.make_node("Identity", ["v"], ["v"])]
    stored = [numpy_helper.from_array(WEIGHT, "k"), numpy_helper.from_array(WEIGHT, "dw.weight")]
    second = helper.make_node("Conv", ["x", "dw.weight"], ["z"], name="second", group=4)
    model = convolution(None, name="w", node="first", stored=stored, extra=[*extra, second])
    bank = extract(save(model, tmp_path))
    assert [layer.name for layer in bank.layers] == ["dw"]
    assert bank.left_out == (
        LeftOut("first", (), "its weight depends on the input 'x', which has no value in the file"),
    )


def test_a_graph_that_runs_in_circles_ends(tmp_path):
    extra = [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"])]
    model = convolution(None, name="a", stored=[], extra=extra)
    with pytest.raises(
        CheckpointError,
        match=r"has no depthwise layers to read; left out: 'conv' \(its weight is computed in a circle\)",
    ):
        extract(save(model, tmp_path))


def test_a_shared_weight_counts_once(tmp_path):
    first = helper.make_node("Conv", ["x", "dw.weight"], ["z"], name="first", group=4, strides=[2, 2])
    (layer,) = extract(save(convolution(WEIGHT, extra=[first]), tmp_path)).layers
    assert layer.stride == 2


@pytest.mark.parametrize(
    ("op", "shape", "reason"),
    [
        ("Conv", (4, 1, 3, 3, 3, 3), "its kernels have 4 axes, and kernels of one to three axes are read"),
        ("Conv", (4, 2, 3), "it is a convolution of 4 groups and not depthwise; kinds=.grouped. reads it"),
        ("ConvTranspose", (4, 1, 3, 3), "it is a transposed convolution of 4 groups; kinds=.grouped. reads it"),
    ],
)
def test_grouped_convolutions_are_named(op, shape, reason, tmp_path):
    path = save(convolution(np.ones(shape, np.float32), op=op), tmp_path)
    with pytest.raises(CheckpointError, match=rf"left out: 'dw' \({reason}\)"):
        extract(path)


@pytest.mark.parametrize(("group", "shape"), [(1, (4, 1, 3, 3)), (4, (4, 1, 1, 1))])
def test_what_is_not_depthwise(group, shape, tmp_path):
    path = save(convolution(np.ones(shape, np.float32), group=group), tmp_path)
    with pytest.raises(CheckpointError, match=r"has no depthwise layers to read; it has 1 convolution with kernel"):
        extract(path)


def with_external(folder, *, location="net.data", offset="0", length=None):
    tensor = TensorProto(name="dw.weight", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    (folder / "net.onnx").write_bytes(convolution(None, stored=[tensor]).SerializeToString())
    return folder / "net.onnx"


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret", "..\\secret", "C:\\secret", ""])
def test_values_outside_the_folder_are_refused(location, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    path = with_external(tmp_path / "model", location=location)
    with pytest.raises(CheckpointError, match="is outside the model's folder and is not read"):
        extract(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model" / "net.data").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="is outside the model's folder and is not read"):
        extract(with_external(tmp_path / "model"))


def test_links_of_a_cache_are_followed(tmp_path):
    for folder in ("blobs", "snapshot"):
        (tmp_path / folder).mkdir()
    (tmp_path / "blobs" / "abc").write_bytes(WEIGHT.tobytes())
    with_external(tmp_path / "blobs").rename(tmp_path / "blobs" / "def")
    (tmp_path / "snapshot" / "net.data").symlink_to("../blobs/abc")
    (tmp_path / "snapshot" / "net.onnx").symlink_to("../blobs/def")
    (layer,) = extract(tmp_path / "snapshot" / "net.onnx").layers
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


def test_a_subfolder_is_inside(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w").write_bytes(b"1234" + WEIGHT.tobytes())
    (layer,) = extract(with_external(tmp_path, location="data/w", offset="4")).layers
    assert torch.equal(layer.kernels, torch.from_numpy(WEIGHT[:, 0]))


@pytest.mark.parametrize("offset", ["8", "100000000"])
def test_values_that_are_cut_short(offset, tmp_path):
    path = with_external(tmp_path, offset=offset)
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
    with pytest.raises(CheckpointError, match=r"net\.data: is cut short, the values of 'dw\.weight' are not all there"):
        extract(path)


@pytest.mark.parametrize("offset", ["-8", "zero", "9" * 40])
def test_an_offset_that_is_none(offset, tmp_path):
    path = with_external(tmp_path, offset=offset)
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
    with pytest.raises(CheckpointError, match=r"net\.onnx: its external data 'net\.data' cannot be read"):
        extract(path)


def test_values_that_are_missing(tmp_path):
    said = r"net\.onnx: its external data 'net\.data' cannot be read \(.*No such file.*\); put that file beside it"
    with pytest.raises(CheckpointError, match=said):
        extract(with_external(tmp_path))


def test_values_of_the_wrong_length(tmp_path):
    tensor = numpy_helper.from_array(WEIGHT, "dw.weight")
    tensor.raw_data = tensor.raw_data[:-8]
    with pytest.raises(CheckpointError, match=r"the values of 'dw\.weight' are damaged"):
        extract(save(convolution(None, stored=[tensor]), tmp_path))


def test_without_onnx_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    path = save(convolution(WEIGHT), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"^onnx is not installed; pip install 'scalekeys\[onnx\]' brings it$"):
        extract(path)


def test_a_graph_without_depthwise_layers_says_what_it_has(tmp_path):
    """Recurrent weights of ONNX have three axes; weights may have any names."""
    gates = [numpy_helper.from_array(np.ones((1, 128, side), "f4"), name) for name, side in (("W", 40), ("R", 32))]
    filters = numpy_helper.from_array(np.ones((1, 16, 64), "f4"), "filters")
    stem = numpy_helper.from_array(np.ones((8, 3, 3, 3), "f4"), "stem_filters")
    layer = helper.make_node("LSTM", ["sequence", "W", "R"], ["states"], hidden_size=32)
    model = convolution(WEIGHT, name="stem_filters", group=1, stored=[*gates, filters, stem], extra=[layer])
    has = "has no depthwise layers to read; it has 1 convolution with kernel 3x3, and 1 one-dimensional convolution"
    with pytest.raises(CheckpointError, match=rf'{has}; kinds="ordinary" .* reads ordinary convolutions$'):
        extract(save(model, tmp_path))
