"""TensorFlow Lite: models built by the classes of its schema."""

import sys

import numpy as np
import pytest
import torch
from fuzz.targets.tflite_models import Op, T, constant, model

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.formats.tensorflow_names import clean_name
from scalekeys.errors import CheckpointError, MissingExtraError

RNG = np.random.default_rng(0)
KERNELS = RNG.standard_normal((1, 3, 5, 6)).astype("f4")
EXPECTED = KERNELS[0].transpose(2, 0, 1)


def read(tmp_path, *graphs, **more):
    path = tmp_path / "net.tflite"
    path.write_bytes(model(*graphs, **more))
    return extract(path)


def left_out(tmp_path, *graphs):
    path = tmp_path / "net.tflite"
    path.write_bytes(model(*graphs, _keeper()))
    return extract(path).left_out


def _keeper():
    return depthwise(constant("kept/depthwise", KERNELS))


def depthwise(*weights, channels=6, before=(), **options):
    """A graph with an input, tensors of weights, an output, and a depthwise convolution by the last of them."""
    tensors = [T("input", (1, 8, 8, channels)), *weights, T("output", (1, 8, 8, 6))]
    last = len(weights)
    return tensors, [*before, Op("DEPTHWISE_CONV_2D", (0, last), (last + 1,), options)]


def test_floats_with_stride_and_dilation(tmp_path):
    graph = depthwise(constant("net/dw/depthwise", KERNELS), StrideH=2, StrideW=2, DilationHFactor=3, DilationWFactor=3)
    (layer,) = read(tmp_path, graph).layers
    assert (layer.name, layer.stride, layer.dilation) == ("net/dw", 2, 3)
    assert torch.equal(layer.kernels, torch.from_numpy(EXPECTED))


def test_filters_of_a_multiplier_stand_in_the_order_of_the_output_channels(tmp_path):
    (layer,) = read(tmp_path, depthwise(constant("a/depthwise", KERNELS), channels=3, DepthMultiplier=2)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(EXPECTED))


def test_half_precision_is_read_through_the_operator_that_widens_it(tmp_path):
    half = KERNELS.astype("f2")
    weights = constant("net/dw/depthwise1", half), T("net/dw/depthwise", KERNELS.shape)
    bank = read(tmp_path, depthwise(*weights, before=[Op("DEQUANTIZE", (1,), (2,))]))
    assert [layer.name for layer in bank.layers] == ["net/dw"]
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(half[0].transpose(2, 0, 1).astype("f4")))


def test_integers_with_a_scale_for_each_channel(tmp_path):
    scale = RNG.uniform(0.01, 0.1, 6).astype("f4")
    integers = RNG.integers(-127, 128, KERNELS.shape).astype("i1")
    (layer,) = read(tmp_path, depthwise(constant("a/depthwise", integers, scale=scale, axis=3))).layers
    expected = torch.from_numpy(integers[0].transpose(2, 0, 1).astype("f4")) * torch.from_numpy(scale)[:, None, None]
    assert torch.equal(layer.kernels, expected)


@pytest.mark.parametrize("through", [False, True])
def test_unsigned_integers_with_one_scale_and_a_zero_point(through, tmp_path):
    integers = RNG.integers(0, 256, KERNELS.shape).astype("u1")
    stored = constant("a/depthwise", integers, scale=np.float32(0.125), zero_point=131)
    graph = depthwise(stored)
    if through:
        graph = depthwise(stored, T("b", KERNELS.shape), before=[Op("DEQUANTIZE", (1,), (2,))])
    (layer,) = read(tmp_path, graph).layers
    assert torch.equal(layer.kernels, torch.from_numpy((integers[0].transpose(2, 0, 1).astype("f4") - 131) / 8))


def test_two_integers_in_a_byte(tmp_path):
    integers = np.array([-8, -7, -1, 0, 1, 2, 3, 7, 5], "i1").reshape(1, 3, 3, 1).repeat(3, -1)
    flat = np.append(integers.ravel(), 0).astype("u1") & 15
    packed = (flat[::2] | flat[1::2] << 4).tobytes()
    tensor = T("a/depthwise", integers.shape, "int4", packed, scale=np.float32(0.5))
    (layer,) = read(tmp_path, depthwise(tensor, channels=3)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(integers[0].transpose(2, 0, 1).astype("f4") / 2))


def test_bfloat16(tmp_path):
    values = torch.from_numpy(KERNELS).bfloat16()
    tensor = T("a/depthwise", KERNELS.shape, "bfloat16", values.view(torch.int16).numpy().tobytes())
    (layer,) = read(tmp_path, depthwise(tensor)).layers
    assert torch.equal(layer.kernels, values[0].permute(2, 0, 1).float())


def test_a_weight_that_is_turned_before_use(tmp_path):
    stored = constant("a/depthwise", np.ascontiguousarray(KERNELS.transpose(3, 1, 2, 0))[..., 0])
    order = constant("order", np.array([1, 2, 0], "i4"))
    turned, whole = T("turned", KERNELS.shape[1:]), T("whole", KERNELS.shape)
    before = [Op("TRANSPOSE", (1, 2), (3,)), Op("RESHAPE", (3,), (4,))]
    (layer,) = read(tmp_path, depthwise(stored, order, turned, whole, before=before)).layers
    assert torch.equal(layer.kernels, torch.from_numpy(EXPECTED))


def test_a_convolution_with_one_channel_a_group(tmp_path):
    weight = RNG.standard_normal((8, 1, 7, 1)).astype("f4")
    tensors = [T("x", (1, 9, 9, 4)), constant("net/row/Conv2D", weight), T("y", (1, 9, 3, 8))]
    (layer,) = read(tmp_path, (tensors, [Op("CONV_2D", (0, 1), (2,))])).layers
    assert layer.name == "net/row"
    assert torch.equal(layer.kernels, torch.from_numpy(weight[..., 0]))


def test_one_layer_for_each_weight(tmp_path):
    """Two tensors that share a buffer are two layers; one that is used twice, or by two signatures, is one."""
    first, second = (constant(f"{name}/depthwise", KERNELS, buffer="same") for name in "ab")
    tensors, operators = depthwise(first, second)
    operators += [Op("DEPTHWISE_CONV_2D", (0, 1), (3,)), Op("DEPTHWISE_CONV_2D", (0, 1), (3,))]
    other = depthwise(constant("a/depthwise", 2 * KERNELS))
    bank = read(tmp_path, (tensors, operators), depthwise(first), other)
    assert [layer.name for layer in bank.layers] == ["b", "a", "a_2"]
    assert [layer.depth for layer in bank.layers] == [0, 1, 2]
    assert torch.equal(bank.layers[2].kernels, 2 * bank.layers[1].kernels)


def test_a_kernel_that_is_spread_over_a_batch(tmp_path):
    block = constant("block", np.array([2, 2], "i4"))
    tensors = [
        T("x", (1, 8, 8, 6)),
        constant("a/depthwise", KERNELS),
        block,
        T("s", (4, 4, 4, 6)),
        T("y", (4, 4, 4, 6)),
    ]
    operators = [Op("SPACE_TO_BATCH_ND", (0, 2), (3,)), Op("DEPTHWISE_CONV_2D", (3, 1), (4,))]
    assert read(tmp_path, (tensors, operators)).layers[0].dilation == 2


def test_values_behind_the_flatbuffer(tmp_path):
    graph = depthwise(constant("a/depthwise", KERNELS, buffer="far"))
    assert torch.equal(read(tmp_path, graph, outside=["far"]).layers[0].kernels, torch.from_numpy(EXPECTED))
    content = (tmp_path / "net.tflite").read_bytes()
    (tmp_path / "net.tflite").write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"damaged or cut short \(.*buffer 1 ends behind the end of the file"):
        extract(tmp_path / "net.tflite")


LOST = {
    "one channel": (depthwise(constant("w", KERNELS), channels=1), (1, 3, 5, 6), "its input has one channel"),
    "sparse": (depthwise(constant("w", KERNELS, sparse=True)), (1, 3, 5, 6), "its weight is stored sparsely"),
    "no scale": (depthwise(constant("w", KERNELS.astype("i1"))), (1, 3, 5, 6), "holds int8 without a scale"),
    "scales": (
        depthwise(constant("w", KERNELS.astype("i1"), scale=[1, 2, 3], axis=3)),
        (1, 3, 5, 6),
        "the scales of its weight do not fit its shape",
    ),
    "computed": (
        depthwise(constant("v", KERNELS), T("w", KERNELS.shape), before=[Op("ABS", (1,), (2,))]),
        (1, 3, 5, 6),
        "computed by the operator ABS",
    ),
    "circle": (
        depthwise(
            T("v", KERNELS.shape),
            T("w", KERNELS.shape),
            before=[Op("DEQUANTIZE", (1,), (2,))] * 1 + [Op("DEQUANTIZE", (2,), (1,))],
        ),
        (1, 3, 5, 6),
        "computed in a circle",
    ),
    "handed in": (depthwise(T("w", KERNELS.shape)), (1, 3, 5, 6), "handed in, or is stored in another file"),
    "short": (
        depthwise(T("w", (1, 3, 5, 6), data=bytes(8))),
        (1, 3, 5, 6),
        "has 8 bytes in the file in the place of 360",
    ),
    "groups": (
        ([T("x", (1, 9, 9, 8)), constant("w", np.ones((8, 3, 3, 4), "f4")), T("y", ())], [Op("CONV_2D", (0, 1), (2,))]),
        (8, 3, 3, 4),
        "it is a convolution of 2 groups",
    ),
    "custom": (
        ([T("x", ()), T("y", ())], [Op("CUSTOM", (0,), (1,), custom="edgetpu-custom-op")]),
        (),
        "edgetpu-custom",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_what_is_not_read_is_named(case, tmp_path):
    graph, shape, reason = LOST[case]
    (entry,) = left_out(tmp_path, graph)
    assert entry.shape == shape
    assert reason in entry.reason


def test_ordinary_convolutions_are_counted(tmp_path):
    tensors = [T("x", (1, 9, 9, 3)), constant("w", np.ones((8, 5, 7, 3), "f4")), T("y", ())]
    with pytest.raises(
        CheckpointError, match=r'it has 1 convolution with kernel 5x7; kinds="ordinary" .* reads ordinary'
    ):
        read(tmp_path, (tensors, [Op("CONV_2D", (0, 1), (2,))]))


def test_many_layers_of_the_same_bytes_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("scalekeys.checkpoints.formats.tflite_model.tflite_file.MOST_VALUES", 100)
    weights = [constant(f"w{place}", np.ones((1, 999, 1, 6), "f4"), buffer="same") for place in range(200)]
    tensors, _ = depthwise(*weights)
    operators = [Op("DEPTHWISE_CONV_2D", (0, 1 + place), (201,)) for place in range(200)]
    with pytest.raises(CheckpointError, match="claim 1198800 values, which the file does not hold"):
        read(tmp_path, (tensors, operators))


def test_a_very_long_name_is_cleaned():
    """Work that grew with the square of the length would take hours here."""
    name = "/read" * 400_000 + "x"
    assert clean_name(name) == name
    assert clean_name("a/" * 400_000 + "dw/depthwise/read") == "a/" * 400_000 + "dw"


def test_damaged_files_are_one_sentence(tmp_path):
    content, path = model(depthwise(constant("a/depthwise", KERNELS))), tmp_path / "net.tflite"
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(300):
        damaged = bytearray(content)
        place = rng.integers(8, len(content) - 4)
        damaged[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x04\0\0\0"])
        path.write_bytes(damaged)
        try:
            extract(path)
        except CheckpointError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(len(text) <= 500 and "\n" not in text for text in refused)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_file_that_was_filled_up_with_zeros_is_damaged(share, tmp_path):
    content, path = model(_keeper()), tmp_path / "net.tflite"
    kept = content[: int(share * len(content))]
    path.write_bytes(kept + bytes(len(content) - len(kept)))
    with pytest.raises(CheckpointError, match="is no TensorFlow Lite model, or is damaged or cut short"):
        extract(path)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scalekeys\[tflite\]'"):
        read(tmp_path, _keeper())
