"""Which weights of shape (C, 1, *sides) are depthwise in files without a graph: networks as others build them."""

import pytest
import torch
from safetensors.torch import save_file

from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError

MAMBA2 = {
    f"backbone.layers.{at}.mixer.{name}": shape
    for at in range(3)
    for name, shape in {
        "in_proj.weight": (84, 16),
        "conv1d.weight": (40, 1, 4),
        "conv1d.bias": (40,),
        "norm.weight": (32,),
        "out_proj.weight": (16, 32),
    }.items()
} | {"lm_head.weight": (50, 16)}
CONFORMER = {
    f"layers.{at}.conv.{name}": shape
    for at in range(2)
    for name, shape in {
        "pointwise_conv1.weight": (32, 16, 1),
        "depthwise_conv.weight": (16, 1, 31),
        "pointwise_conv2.weight": (16, 16, 1),
    }.items()
}
SEPARABLE = {
    "encoder.0.mconv.0.conv.weight": (16, 1, 11),
    "encoder.0.mconv.1.conv.weight": (32, 16, 1),
    "encoder.1.mconv.0.conv.weight": (32, 1, 13),
    "encoder.1.mconv.1.conv.weight": (8, 32, 1),
    "decoder.weight": (4, 8, 1),
}
WAVE_TO_VECTORS = {
    "feature_extractor.conv_layers.0.conv.weight": (32, 1, 10),
    "feature_extractor.conv_layers.1.conv.weight": (32, 32, 3),
    "feature_projection.weight": (16, 32),
}
SEPARATION = {  # Conv-TasNet: the first and the last are no depthwise layers
    "encoder.conv1d_U.weight": (64, 1, 16),
    "separator.network.0.weight": (32, 64, 1),
    "separator.network.1.0.net.0.weight": (48, 32, 1),
    "separator.network.1.0.net.3.net.0.weight": (48, 1, 3),
    "separator.network.1.0.net.3.net.3.weight": (32, 48, 1),
    "separator.network.2.weight": (128, 32, 1),
    "decoder.weight": (64, 1, 16),
}
DISCRIMINATORS = {
    f"discriminators.{at}.{name}": shape
    for at in range(3)
    for name, shape in {
        "convs.0.weight": (16, 1, 15),
        "convs.1.weight": (16, 4, 41),
        "convs.2.weight": (32, 16, 5),
        "conv_post.weight": (1, 32, 3),
    }.items()
}
BRANCHES = {
    "fine.0.weight": (8, 1, 3),
    "fine.3.weight": (16, 8, 3),
    "coarse.0.weight": (8, 1, 9),
    "coarse.3.weight": (16, 8, 3),
    "fc.weight": (2, 32),
}
MULTIPLIER = {"conv1.weight": (8, 2, 7), "conv2.weight": (16, 1, 3), "conv3.weight": (4, 16, 1)}
VOLUMES = {"enc1.weight": (8, 1, 3, 3, 3), "enc2.weight": (16, 8, 3, 3, 3), "out.weight": (2, 16, 1, 1, 1)}
EVENTS = {
    "blocks.0.conv_s.0.weight": (8, 2, 3, 3, 1),
    "blocks.1.conv_t.0.weight": (8, 1, 1, 1, 5),
    "blocks.1.conv_t.2.weight": (16, 8, 1, 1, 1),
    "blocks.1.conv_s.0.weight": (16, 1, 3, 3, 1),
    "blocks.1.conv_s.2.weight": (32, 16, 1, 1, 1),
}
TO_ONE_AND_BACK = {"down.weight": (1, 8, 3), "up.weight": (3, 1, 5), "wide.weight": (9, 3, 1)}
VOUCHED_BY_A_FIRST_LAYER = {
    "stem.weight": (8, 3, 1),
    "b.0.conv.weight": (8, 1, 3),
    "b.0.wide.weight": (5, 8, 3),
    "b.1.conv.weight": (8, 1, 3),
    "b.1.wide.weight": (5, 8, 1),
}
TWO_EARS = {
    "model.wave1.weight": (8, 1, 16),
    "model.wave2.weight": (8, 1, 12),
    "model.wide.weight": (5, 16, 1),
    "model.xfc.weight": (2, 5),
}
NETWORKS = {
    "to one and back": (TO_ONE_AND_BACK, []),
    "vouched by a first layer": (VOUCHED_BY_A_FIRST_LAYER, []),
    "two ears": (TWO_EARS, []),
    "mamba2": (MAMBA2, [f"backbone.layers.{at}.mixer.conv1d" for at in range(3)]),
    "conformer": (CONFORMER, [f"layers.{at}.conv.depthwise_conv" for at in range(2)]),
    "separable": (SEPARABLE, [f"encoder.{at}.mconv.0.conv" for at in range(2)]),
    "wave": (WAVE_TO_VECTORS, []),
    "separation": (SEPARATION, ["separator.network.1.0.net.3.net.0"]),
    "discriminators": (DISCRIMINATORS, []),
    "branches": (BRANCHES, []),
    "multiplier": (MULTIPLIER, ["conv2"]),
    "volumes": (VOLUMES, []),
    "events": (EVENTS, ["blocks.1.conv_t.0", "blocks.1.conv_s.0"]),
    "alone": ({"0.weight": (4, 1, 7), "0.bias": (4,), "2.weight": (4, 1, 3)}, ["0", "2"]),
}


def state_of(shapes):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_others(name, sort, tmp_path):
    shapes, expected = NETWORKS[name]
    source = state_of(shapes)
    if sort:
        save_file(source, tmp_path / "net.safetensors")
        source = tmp_path / "net.safetensors"
    opened = open_source(source)
    assert {layer.name for layer in opened.layers} == set(expected)
    assert sort or [layer.name for layer in opened.layers] == expected
    candidates = {key.removesuffix(".weight") for key, shape in shapes.items() if len(shape) > 2 and shape[1] == 1}
    assert {one.name for one in opened.left_out} == candidates - set(expected)
    assert all(one.reason.startswith("it can be depthwise, or an ordinary or transposed") for one in opened.left_out)


TRUNK = {"a.weight": (8, 3, 3), "b.weight": (8, 1, 5), "c.weight": (16, 8, 1)}


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"stft.conv_real.weight": (33, 1, 64)}, "it is a basis of a Fourier transform by its name or shape"),
        ({"front.weight": (33, 1, 64)}, "it is a basis of a Fourier transform by its name or shape"),
        ({"conv.kernel": (31, 1, 64)}, "its channels stand last, as in Keras and JAX"),
        ({"conv.weight": (9, 1, 64), "conv.bias": (64,)}, "its channels stand last, as in Keras and JAX"),
        ({"up.weight": (16, 1, 8), "up.bias": (1,)}, "its bias has one value, so that it is a transposed convolution"),
        ({"up.weight": (16, 1, 8)}, "it can be depthwise, or an ordinary or transposed convolution"),
        ({"other.weight": (13, 1, 8), "other.bias": (13,)}, "it can be depthwise, or an ordinary or transposed"),
        (
            {"volume.weight": (16, 1, 2, 2, 2), "volume.bias": (1,)},
            "its bias has one value, so that it is a transposed",
        ),
        ({"conv.kernel": (31, 1, 1, 64), "conv.bias": (64,)}, "its channels stand last, as in Keras and JAX"),
        ({"conv/depthwise_kernel": (60, 1, 8, 2)}, "its channels stand last, as in Keras and JAX"),
        ({"conv.weight": (60, 1, 8, 2), "conv.bias": (16,)}, "its channels stand last, as in Keras and JAX"),
        ({"d.weight_v": (16, 1, 8)}, "it is a part of a computed weight"),
        ({"blur.weight": (16, 1, 8)}, "its filters are all the same, as those of a fixed filter"),
    ],
)
def test_what_is_no_depthwise_weight_is_left_out_with_its_reason(shapes, reason):
    state = state_of(TRUNK | shapes)
    if "blur.weight" in state:
        state["blur.weight"][:] = 1
    bank = extract(state)
    assert [layer.name for layer in bank.layers] == ["b"]
    (one,) = bank.left_out
    assert one.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pe", (500, 1, 64)),
        ("cls_token", (5, 1, 64)),
        ("temperature", (4, 1, 1)),
        ("gamma.weight", (8, 1, 1)),
        ("pos_embed", (1, 9, 64)),
        ("stft.forward_basis_buffer", (258, 1, 256)),
        ("queries", (10, 1, 64)),
        ("conv.weight", (1, 1, 3)),
    ],
)
def test_what_is_no_weight_or_has_no_kernel_is_not_spoken_of(name, shape):
    bank = extract(state_of(TRUNK | {name: shape}))
    assert ([layer.name for layer in bank.layers], bank.left_out) == (["b"], ())


@pytest.mark.parametrize(("name", "bias"), [("a", None), ("kernel", 32), ("depthwise_kernel", 32), ("kernel", None)])
def test_weights_of_the_usual_order_are_depthwise_whatever_their_name(name, bias):
    shapes = {f"d.{name}.weight" if name == "a" else f"d.{name}": (32, 1, 3, 5)} | ({"d.bias": (bias,)} if bias else {})
    assert [len(layer.kernels) for layer in extract(state_of(shapes)).layers] == [32]


def test_where_no_tensor_has_the_name_of_a_weight_a_name_has_to_say_that_it_is_depthwise():
    bank = extract(state_of({"dwconv1": (8, 1, 5), "embedding": (8, 1, 5)}))
    assert [layer.name for layer in bank.layers] == ["dwconv1"]
    assert [one.name for one in bank.left_out] == ["embedding"]


@pytest.mark.parametrize(
    ("source", "count", "sizes"),
    [
        ("zoo/odd/matchboxnet.nemo", 8, {(11,), (13,), (15,), (17,), (29,)}),
        ("zoo/matchboxnet_3x2x64.onnx", 8, {(11,), (13,), (15,), (17,), (29,)}),
        ("zoo/seist_s_dpk_diting.pth", 12, {(5,), (7,), (9,), (11,), (13,), (15,), (19,)}),
        ("zoo/seist_l_dpk_diting.pth", 12, {(5,), (7,), (9,), (11,), (13,), (15,), (19,)}),
        ("zoo/ntire24_07_DVMSR.pth", 8, {(4,)}),
        ("zoo/tenns_pleiades_dvs128.pt", 6, {(1, 1, 5), (3, 3, 1)}),
        ("zoo/ege_unet_kits19.onnx", 50, {(3,), (3, 3)}),
    ],
)
def test_trained_networks(source, count, sizes, shared):
    if not (shared / source).is_file():
        pytest.skip(f"needs ../shared/{source}, which is not here")
    bank = extract(shared / source)
    assert len(bank.layers) == count
    assert sizes <= set(bank.sizes)
    assert bank.left_out == ()


def test_a_trained_network_with_the_basis_of_a_transform_has_no_depthwise_layers(shared):
    path = shared / "zoo/odd/silero_vad.jit"
    if not path.is_file():
        pytest.skip("needs ../shared/zoo/odd/silero_vad.jit, which is not here")
    with pytest.raises(CheckpointError, match="has no depthwise layers to read; it has 8 one-dimensional convolutions"):
        extract(path)


@pytest.mark.parametrize("vector", ["conv.bias", "norm.weight"])
def test_long_kernels_of_few_channels_do_not_stand_last_where_a_bias_or_a_norm_tells(vector):
    state = {"conv.weight": torch.rand(16, 16, 60, 1), vector: torch.ones(16), "dw.weight": torch.rand(16, 1, 3, 3)}
    assert extract(state).left_out == ()
    assert [layer.name for layer in extract(state, kinds="all").layers] == ["conv", "dw"]
