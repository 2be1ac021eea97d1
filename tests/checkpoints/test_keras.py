"""Keras: files in the layouts of its versions, written by h5py."""

import io
import json
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError, MissingExtraError

RNG = np.random.default_rng(0)
DOUBLE = RNG.standard_normal((3, 5, 4, 2)).astype("f4")
SINGLE = RNG.standard_normal((1, 7, 8, 1)).astype("f4")
ORDINARY = RNG.standard_normal((3, 3, 32, 1)).astype("f4")
POINTWISE = RNG.standard_normal((1, 1, 8, 8)).astype("f4")


def filters_of(kernel):
    """Write out the order of the output channels: filter m of channel c is channel c * multiplier + m."""
    rows, cols, channels, multiplier = kernel.shape
    stack = np.empty((channels * multiplier, rows, cols), kernel.dtype)
    for channel in range(channels):
        for number in range(multiplier):
            stack[channel * multiplier + number] = kernel[:, :, channel, number]
    return torch.from_numpy(stack)


def described(class_name, name, **settings):
    return {"class_name": class_name, "config": {"name": name, **settings}}


CONFIG = described(
    "Functional",
    "net",
    layers=[
        described("InputLayer", "image"),
        described("SeparableConv2D", "zeta", strides=[2, 2], dilation_rate=[1, 1]),
        described("DepthwiseConv2D", "alpha", strides=[1, 1], dilation_rate=[3, 3]),
        described("Conv2D", "head", strides=[1, 1], dilation_rate=[1, 1], groups=1),
    ],
)


def write(tmp_path, weights, *, attributes=(), name="m.h5"):
    with h5py.File(tmp_path / name, "w") as file:
        for place, values in weights.items():
            file[place] = values
        for place, key, value in attributes:
            file.require_group(place).attrs[key] = value
    return tmp_path / name


def first_layout(tmp_path, *, start="", config=None, version="2.1.6"):
    """Layers by name, with lists of their names in their order; the optimizer beside them."""
    weights = {
        f"{start}alpha/alpha/depthwise_kernel:0": DOUBLE,
        f"{start}head/head/kernel:0": ORDINARY,
        f"{start}zeta/zeta/depthwise_kernel:0": SINGLE,
        f"{start}zeta/zeta/pointwise_kernel:0": POINTWISE,
        "optimizer_weights/Adam/Variable:0": DOUBLE,
    }
    attributes = [
        (start or "/", "layer_names", [b"zeta", b"alpha", b"head"]),
        (start or "/", "keras_version", version),
        (f"{start}zeta", "weight_names", [b"zeta/depthwise_kernel:0", b"zeta/pointwise_kernel:0"]),
    ]
    if config:
        attributes.append(("/", "model_config", json.dumps(config)))
    return write(tmp_path, weights, attributes=attributes)


def third_layout(tmp_path, *, titles=False):
    """Layers by class and number, their variables by number."""
    weights = {
        "layers/separable_conv2d/vars/0": SINGLE,
        "layers/separable_conv2d/vars/1": POINTWISE,
        "layers/depthwise_conv2d/vars/0": DOUBLE,
        "layers/conv2d/vars/0": ORDINARY,
        "optimizer/vars/2": DOUBLE,
    }
    names = {"separable_conv2d": "zeta", "depthwise_conv2d": "alpha", "conv2d": "head"}
    attributes = [(f"layers/{place}/vars", "name", name) for place, name in names.items() if titles]
    return write(tmp_path, weights, attributes=attributes, name="m.weights.h5")


def archive(tmp_path, config, *, pack=zipfile.ZIP_STORED, weights=None):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", pack) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", third_layout(tmp_path).read_bytes() if weights is None else weights)
    return tmp_path / "m.keras"


LAYOUTS = {
    "weights of version 2": (first_layout, ("zeta", "alpha"), None),
    "a model of version 2": (lambda at: first_layout(at, start="model_weights/", config=CONFIG), ("zeta", "alpha"), 2),
    "weights of version 3": (third_layout, ("separable_conv2d", "depthwise_conv2d"), None),
    "weights of version 3 with names": (lambda at: third_layout(at, titles=True), ("zeta", "alpha"), None),
    "an archive": (lambda at: archive(at, CONFIG), ("zeta", "alpha"), 2),
    "a packed archive": (lambda at: archive(at, CONFIG, pack=zipfile.ZIP_DEFLATED), ("zeta", "alpha"), 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout, tmp_path):
    make, names, stride = LAYOUTS[layout]
    bank = extract(make(tmp_path))
    assert tuple(layer.name for layer in bank.layers) == names
    assert torch.equal(bank.layers[0].kernels, filters_of(SINGLE))
    assert torch.equal(bank.layers[1].kernels, filters_of(DOUBLE))
    assert [layer.stride for layer in bank.layers] == [stride, stride and 1]
    assert [layer.dilation for layer in bank.layers] == [stride and 1, stride and 3]
    assert bank.left_out == ()


def test_types_of_numbers(tmp_path):
    half = SINGLE.astype("f2")
    wide = SINGLE.astype(">f8")
    brain = torch.from_numpy(SINGLE).bfloat16()
    path = write(
        tmp_path,
        {
            "layers/depthwise_conv2d/vars/0": half,
            "layers/depthwise_conv2d_1/vars/0": wide,
            "layers/depthwise_conv2d_2/vars/0": brain.view(torch.int16).numpy().view("V2"),
            "layers/depthwise_conv2d_3/vars/0": SINGLE.astype("i1"),
        },
    )
    bank = extract(path)
    assert [layer.kernels.dtype for layer in bank.layers] == [torch.float32, torch.float64, torch.float32]
    assert torch.equal(bank.layers[0].kernels, filters_of(half).float())
    assert torch.equal(bank.layers[1].kernels, filters_of(wide.astype("f8")))
    assert torch.equal(bank.layers[2].kernels, brain.float()[:, :, :, 0].permute(2, 0, 1))
    assert [entry.reason for entry in bank.left_out] == ["its weight holds int8"]


def test_numbered_layers_stand_in_the_order_in_which_they_were_saved(tmp_path):
    classes = ["separable_conv2d", *(f"depthwise_conv2d{'' if n == 0 else f'_{n}'}" for n in range(12))]
    bank = extract(write(tmp_path, {f"layers/{name}/vars/0": SINGLE for name in classes}))
    assert [layer.name for layer in bank.layers] == classes


def test_a_model_in_a_model(tmp_path):
    inner = described("Functional", "body", layers=[described("DepthwiseConv2D", "dw", strides=[2, 1])])
    config = described("Sequential", "net", layers=[described("DepthwiseConv2D", "dw", strides=1), inner])
    places = {"layers/functional/layers/depthwise_conv2d/vars/0": DOUBLE, "layers/depthwise_conv2d/vars/0": SINGLE}
    bank = extract(archive(tmp_path, config, weights=write(tmp_path, places).read_bytes()))
    assert [(layer.name, layer.stride) for layer in bank.layers] == [("dw", 1), ("body/dw", 2)]
    assert bank.notes[0] == "layer 'body/dw' has stride 2x1; the larger is recorded"


def one(tmp_path, place, kernel, config=None):
    path = write(tmp_path, {f"layers/{place}/vars/0": kernel, "layers/depthwise_conv2d/vars/0": SINGLE})
    if config:
        layers = [config, described("DepthwiseConv2D", "kept")]
        path = archive(tmp_path, described("Sequential", "net", layers=layers), weights=path.read_bytes())
    bank = extract(path)
    return [layer.name for layer in bank.layers][:-1] or [entry.reason for entry in bank.left_out]


GROUPED = RNG.standard_normal((7, 7, 1, 8)).astype("f4")


@pytest.mark.parametrize(
    ("place", "kernel", "config", "expected"),
    [
        ("conv2d", ORDINARY, None, []),
        ("conv2d", GROUPED, None, ["it can be depthwise, or the convolution of a one-channel input; give the whole"]),
        ("conv2d", GROUPED, described("Conv2D", "first", groups=1), []),
        ("conv2d", GROUPED, described("Conv2D", "mixing", groups=8), ["mixing"]),
        (
            "conv2d",
            np.ones((3, 3, 2, 8), "f4"),
            described("Conv2D", "g", groups=4),
            ["it is a convolution of 4 groups"],
        ),
        ("block_dwconv", GROUPED, None, ["block_dwconv"]),
        ("mine", ORDINARY, None, ["it can be depthwise or an ordinary convolution; give the whole model"]),
        ("my_depthwise", ORDINARY, None, ["my_depthwise"]),
        ("conv2d_transpose", GROUPED, None, []),
        ("depthwise_conv2d_1", np.ones((3, 3, 1, 8), "f4"), None, ["its input has one channel, so that it is"]),
        ("depthwise_conv1d", np.ones((9, 8, 1), "f4"), None, ["depthwise_conv1d"]),
        ("conv3d", np.ones((3, 3, 3, 1, 8), "f4"), described("Conv3D", "v", groups=8), ["v"]),
        ("conv1d_transpose", np.ones((3, 8, 8), "f4"), described("Conv1DTranspose", "v"), []),
        ("dense", np.ones((9, 8), "f4"), None, []),
    ],
)
def test_the_configuration_decides_and_else_the_names(place, kernel, config, expected, tmp_path):
    found = one(tmp_path, place, kernel, config)
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


@pytest.mark.parametrize("separator", [".", "/"])
def test_weights_of_torch_in_a_file_of_hdf5_are_left_out(separator, tmp_path):
    shapes = {"stem.weight": (32, 3, 3, 3), "dw.weight": (32, 1, 7, 5), "pw.weight": (64, 32, 1, 1)}
    torch_weights = {key.replace(".", separator): np.ones(shape, "f4") for key, shape in shapes.items()}
    path = write(tmp_path, torch_weights | {"layers/depthwise_conv2d/vars/0": SINGLE})
    bank = extract(path)
    assert [layer.name for layer in bank.layers] == ["depthwise_conv2d"]
    assert [entry.reason[:31] for entry in bank.left_out] == ["its name is one of PyTorch and "]
    assert len(extract(path, kinds="all").left_out) == 2


def test_nothing_outside_the_file_is_read(tmp_path):
    write(tmp_path, {"w": SINGLE}, name="other.h5")
    path = write(tmp_path, {"layers/depthwise_conv2d/vars/0": SINGLE})
    with h5py.File(path, "a") as file:
        file["layers/depthwise_conv2d_1"] = h5py.ExternalLink("other.h5", "/")
        file["layers/depthwise_conv2d_2/vars/0"] = h5py.SoftLink("/layers/depthwise_conv2d/vars/0")
        file["layers/circle"] = file["layers"]
        layout = h5py.VirtualLayout(SINGLE.shape, "f4")
        layout[:] = h5py.VirtualSource("other.h5", "w", SINGLE.shape)
        file.create_virtual_dataset("layers/depthwise_conv2d_3/vars/0", layout)
        file.create_dataset(
            "layers/depthwise_conv2d_4/vars/0", SINGLE.shape, "f4", external=[("other.h5", 0, SINGLE.nbytes)]
        )
    bank = extract(path)
    assert [layer.name for layer in bank.layers] == ["depthwise_conv2d"]
    assert [entry.name[-1] for entry in bank.left_out] == ["1", "2", "3", "4"]
    assert all("is not followed" in entry.reason for entry in bank.left_out)


def test_claims_of_size_are_not_believed(tmp_path):
    path = write(tmp_path, {"layers/depthwise_conv2d/vars/0": SINGLE})
    with h5py.File(path, "a") as file:
        shape = (1000, 1000, 1000, 1000)
        file.create_dataset("layers/depthwise_conv2d_1/vars/0", shape, "f4", fillvalue=0)
        packed = file.create_dataset(
            "layers/depthwise_conv2d_2/vars/0", shape, "f4", chunks=(100, 100, 1, 1), compression="gzip", fillvalue=0
        )
        packed[0, 0, 0, 0] = 1
    bank = extract(path)
    assert [layer.name for layer in bank.layers] == ["depthwise_conv2d"]
    reasons = ["its values are missing", "it claims more values than the file holds"]
    assert [entry.reason for entry in bank.left_out] == reasons


def test_a_bomb_in_an_archive(tmp_path, monkeypatch):
    path = archive(tmp_path, CONFIG, pack=zipfile.ZIP_DEFLATED, weights=bytes(10**6))
    monkeypatch.setattr("scalekeys.checkpoints.formats.keras_model.keras_archive._LARGEST_UNPACKED", 10**5)
    with pytest.raises(CheckpointError, match=r"its packed model\.weights\.h5 claims 1000000 bytes; unpack it"):
        extract(path)
    monkeypatch.setattr("scalekeys.checkpoints.formats.keras_model.keras_archive._LARGEST_CONFIG", 10)
    with pytest.raises(CheckpointError, match=r"its config\.json claims \d+ bytes; do not trust it"):
        extract(archive(tmp_path, CONFIG))


def test_archives_that_are_no_models(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("metadata.json", "{}")
    (tmp_path / "m.keras").write_bytes(content.getvalue())
    with pytest.raises(CheckpointError, match=r"is a zip archive with no model\.weights\.h5, which is no Keras model"):
        extract(tmp_path / "m.keras")
    for config in ("[" * 10**5, "nonsense"):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
            file.writestr("config.json", config)
            file.writestr("model.weights.h5", third_layout(tmp_path).read_bytes())
        with pytest.raises(CheckpointError, match="the configuration of its model is damaged"):
            extract(tmp_path / "m.keras")


def test_a_damaged_heap_is_not_followed_for_ever(tmp_path):
    path = third_layout(tmp_path, titles=True)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    path.write_bytes(content[: heap + 16] + bytes(32) + content[heap + 48 :])
    with pytest.raises(CheckpointError, match=r"damaged or cut short .*a heap of it is damaged"):
        extract(path)


@pytest.mark.parametrize("make", [first_layout, third_layout, lambda at: archive(at, CONFIG)])
def test_damaged_files_are_one_sentence(make, tmp_path):
    content, path = (made := make(tmp_path)).read_bytes(), made
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(100):
        damaged = bytearray(content)
        place = int(rng.integers(8, 3000))
        damaged[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x04\0\0\0"])
        path.write_bytes(damaged if rng.random() < 0.8 else damaged[: int(rng.integers(9, len(content)))])
        try:
            extract(path)
        except CheckpointError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(len(text) <= 500 and "\n" not in text for text in refused)


def test_without_the_extra(tmp_path, monkeypatch):
    path = third_layout(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scalekeys\[keras\]'"):
        extract(path)


def mamba(channels=96, sides=(4,), per_channel=False):
    """Weights of blocks of linear layers around a convolution with one group for each of its channels."""
    weights = {"layers/conv2d/vars/0": RNG.standard_normal((3, 3, 3, 24)).astype("f4")}
    shape = (1, 4, channels, 1) if per_channel else (*sides, 1, channels)
    for block in ("blocks/mamba", "blocks/mamba_1"):
        weights[f"{block}/conv1d/vars/0"] = RNG.standard_normal(shape).astype("f4")
        weights[f"{block}/conv1d/vars/1"] = np.ones(channels, "f4")
        weights[f"{block}/in_proj/vars/0"] = np.ones((24, 2 * channels), "f4")
        weights[f"{block}/out_proj/vars/0"] = np.ones((channels, 24), "f4")
    return weights


@pytest.mark.parametrize("sides", [(4,), (3, 5), (3, 3, 3)])
def test_weights_around_a_kernel_tell_that_it_is_depthwise(sides, tmp_path):
    weights = mamba(sides=sides)
    bank = extract(write(tmp_path, weights))
    assert [layer.name for layer in bank.layers] == ["blocks/mamba/conv1d", "blocks/mamba_1/conv1d"]
    for layer, place in zip(bank.layers, ("mamba", "mamba_1"), strict=True):
        kernel = weights[f"blocks/{place}/conv1d/vars/0"]
        assert torch.equal(layer.kernels, torch.from_numpy(kernel[..., 0, :]).movedim(-1, 0))


@pytest.mark.parametrize("shape", [(5, 5, 1, 24), (9, 1, 24)])
def test_the_first_layer_of_a_network_for_one_channel_is_not_read_as_depthwise(shape, tmp_path):
    layer = "conv2d" if len(shape) == 4 else "conv1d"
    kernels = {f"layers/{layer}/vars/0": shape, f"layers/{layer}_1/vars/0": (*shape[:-2], 24, 48)}
    path = write(tmp_path, {place: np.ones(side, "f4") for place, side in kernels.items()})
    with pytest.raises(CheckpointError, match=f"left out: '{layer}' .it can be depthwise, or the convolution of a one"):
        extract(path)


def test_a_bias_with_a_value_for_each_channel_tells_that_a_kernel_is_depthwise(tmp_path):
    weights = mamba(per_channel=True)
    bank = extract(write(tmp_path, weights))
    kernels = [weights[f"blocks/{place}/conv1d/vars/0"] for place in ("mamba", "mamba_1")]
    assert torch.equal(torch.cat([layer.kernels for layer in bank.layers]), torch.cat([*map(filters_of, kernels)]))
    for name, outputs in (("conv2d", 1), ("deconv", 8)):
        ordinary = {f"{name}/vars/0": np.ones((3, 3, 8, 1), "f4"), f"{name}/vars/1": np.ones(outputs, "f4")}
        assert len(extract(write(tmp_path, weights | ordinary)).layers) == 2


def test_a_transposed_convolution_of_one_channel_is_not_read_as_depthwise(tmp_path):
    shapes = {"encode": (3, 3, 3, 64), "squeeze": (3, 3, 64, 1), "up_block": (3, 3, 16, 1), "decode": (3, 3, 16, 8)}
    weights = {f"layers/{name}/vars/0": np.ones(shape, "f4") for name, shape in shapes.items()}
    weights["layers/up_block/vars/1"] = np.ones(16, "f4")
    bank = extract(write(tmp_path, weights | {"layers/depthwise_conv2d/vars/0": SINGLE}))
    assert [layer.name for layer in bank.layers] == ["depthwise_conv2d"]
    reason = "it can be depthwise or an ordinary convolution; give the whole model with its configuration"
    assert ("up_block", reason) in [(entry.name, entry.reason) for entry in bank.left_out]


def test_the_kernels_of_one_layer_do_not_hide_one_another(tmp_path):
    shapes = {
        "layers/conv2d/vars/0": (3, 3, 3, 24),
        "layers/conv1d/kernel": (5, 1, 48),
        "layers/conv1d/recurrent_kernel": (48, 7),
        "layers/dense/vars/0": (48, 10),
    }
    weights = {place: np.ones(shape, "f4") for place, shape in shapes.items()}
    weights["layers/conv1d/kernel"] = RNG.standard_normal((5, 1, 48)).astype("f4")
    bank = extract(write(tmp_path, weights))
    assert [layer.name for layer in bank.layers] == ["conv1d"]


def test_a_variable_that_only_ends_as_a_bias_is_none(tmp_path):
    weights = mamba(per_channel=True)
    for block in ("mamba", "mamba_1"):
        weights[f"blocks/{block}/conv1d/vars/11"] = np.ones(7, "f4")
    assert len(extract(write(tmp_path, weights)).layers) == 2
