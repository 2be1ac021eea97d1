"""Nothing of the shape of a kernel is lost in silence: it is read, or stands in what is left out with a reason."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed._shard.sharded_tensor import ShardedTensor

from scalekeys import atlas
from scalekeys.checkpoints import extract
from scalekeys.checkpoints.core.checkpoint import said_of
from scalekeys.errors import CheckpointError
from scalekeys.filters import LeftOut


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


NET = {
    "stem.weight": random(8, 3, 4, 4),
    "dw.weight": random(8, 1, 7, 7),
    "norm.weight": torch.ones(8),
    "pw.weight": random(16, 8, 1, 1),
}
SAME = torch.ones(8, 1, 3, 3)


class Box:
    """An object of a class of one's own, which is not imported."""

    def __init__(self, value):
        self.value = value


class Sharded:
    """What older versions of PyTorch save of a tensor that is shared out among several processes."""

    def __reduce__(self):
        return ShardedTensor, ()


def read_of(state):
    return {layer.name: layer.kernels for layer in extract(state).layers}


def left_out_of(state):
    return {one.name: one.reason for one in extract(state).left_out}


@pytest.mark.parametrize(
    "last", ["kernel", "conv_weight", "W", "w", "weights", "depthwise_kernel", "dw_weight", "conv1_w"]
)
@pytest.mark.parametrize("save", [torch.save, save_file, None])
def test_the_usual_names_of_weights_are_read(last, save, tmp_path):
    state = NET | {f"extra.{last}": random(8, 1, 5, 5)}
    source = state if save is None else tmp_path / "net"
    if save:
        save(state, source)
    bank = extract(source)
    assert {layer.name for layer in bank.layers} == {"dw", f"extra.{last}".removesuffix(".weight")}
    assert bank.left_out == ()


@pytest.mark.parametrize(
    "last", ["filt", "mask", "gamma", "relative_position_bias", "bias", "class_weight", "running_mean", "basis"]
)
def test_other_names_are_listed(last):
    state = NET | {f"extra.{last}": random(8, 1, 5, 5)}
    assert list(read_of(state)) == ["dw"]
    assert left_out_of(state) == {f"extra.{last}": f"its name {last!r} is not that of a weight"}
    (one,) = extract(state).left_out
    assert one.shape == (8, 1, 5, 5)


@pytest.mark.parametrize(
    ("key", "weight", "reason"),
    [
        ("blur.kernel", random(8, 1, 3, 3), "its name is that of a fixed filter"),
        ("sobel_kernel", random(2, 1, 3, 3), "its name is that of a fixed filter"),
        ("pool.kernel", SAME, "its filters are all the same, as those of a fixed filter"),
        ("blur.weight", SAME, "its filters are all the same, as those of a fixed filter"),
    ],
)
def test_fixed_filters_are_listed(key, weight, reason):
    assert left_out_of(NET | {key: weight}) == {key.removesuffix(".weight"): reason}


def test_sparse_weights_of_the_name_of_a_fixed_filter_are_compared_by_their_values():
    state = NET | {"mask.dw.weight": random(8, 1, 3, 3).to_sparse(), "blur.weight": SAME.to_sparse()}
    assert list(read_of(state)) == ["dw", "mask.dw"]
    assert torch.equal(read_of(state)["mask.dw"], random(8, 1, 3, 3)[:, 0])
    assert left_out_of(state) == {"blur": "its filters are all the same, as those of a fixed filter"}


def test_equal_filters_of_a_usual_name_are_read():
    assert list(read_of(NET | {"more.weight": SAME})) == ["dw", "more"]
    assert list(read_of({"w": SAME})) == ["w"]


@pytest.mark.parametrize(
    "key",
    ["dw.weight.grad", "grad.dw.weight", "state.dw.weight.exp_avg", "dw.momentum_buffer", "optim.exp_avg_sq.dw.weight"],
)
def test_what_belongs_to_a_training_is_neither_read_nor_listed(key):
    bank = extract(NET | {key: random(8, 1, 7, 7)})
    assert ([layer.name for layer in bank.layers], bank.left_out, bank.notes) == (["dw"], (), ())


@pytest.mark.parametrize("word", ["grad", "gradients"])
def test_a_module_that_is_called_as_a_gradient_is_read(word):
    branch = {f"{word}.dw.weight": random(8, 1, 3, 3), f"{word}.pw.weight": random(8, 8, 1, 1)}
    assert list(read_of(branch | {"body.dw.weight": NET["dw.weight"]})) == [f"{word}.dw", "body.dw"]
    assert list(read_of({f"net/{word}/dw/weight": random(8, 1, 7, 7), "net/dw/weight": random(8, 1, 7, 7)})) == [
        "net/dw/weight"
    ]


@pytest.mark.parametrize(
    ("key", "shape", "said"),
    [
        ("c/dw/exp_avg", (8, 1, 3, 3), "nothing"),
        ("c/dw/running_stat", (8, 1, 2, 2), "left out"),
        ("c/mask", (8, 1, 4, 4), "left out"),
        ("c/depthwise_conv/weight", (64, 1, 9), "read"),
        ("up/weight", (32, 1, 4), "left out"),
    ],
)
def test_names_with_slashes_say_the_same(key, shape, said):
    state = {name.replace(".", "/"): value for name, value in NET.items()} | {key: random(*shape)}
    bank = extract(state | {"up/bias": torch.ones(1)})
    assert [layer.name for layer in bank.layers] == ["dw/weight", key][: 1 + (said == "read")]
    assert [one.name for one in bank.left_out] == [key][: said == "left out"]


def test_linear_layers_of_several_heads_are_no_sparse_convolutions():
    state = {"attn/query/kernel": random(16, 4, 8), "attn/query/bias": random(4, 8), "dw/weight": NET["dw.weight"]}
    assert [layer.name for layer in extract(state, kinds="all").layers] == ["dw/weight"]


@pytest.mark.parametrize(
    ("key", "shape", "listed"),
    [
        ("time.weight", (8, 1, 9), "time"),
        ("volume.kernel", (8, 1, 3, 3, 3), "volume.kernel"),
        ("volume.filter", (8, 1, 3, 3, 3), "volume.filter"),
        ("block.depthwise.taps", (8, 1, 9), "block.depthwise.taps"),
        ("block.taps", (8, 1, 9), None),
        ("stft.forward_basis_buffer", (258, 1, 256), None),
        ("cls_token", (5, 1, 64), None),
        ("conv.weight", (8, 8, 3, 3), None),
    ],
)
def test_kernels_of_other_axes_are_listed_where_they_are_weights(key, shape, listed):
    assert list(left_out_of(NET | {key: torch.ones(shape)})) == ([listed] if listed else [])


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (torch.ones(8, 1, 3, 3, dtype=torch.int8), "it holds int8 values, not floating-point filters"),
        (torch.ones(8, 1, 3, 3, dtype=torch.complex64), "it holds complex numbers (complex64)"),
        ([torch.ones(2), torch.ones(3)], "it is a nested tensor"),
        (np.ones((8, 1, 3, 3), np.complex128), "it holds complex numbers (complex128)"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_other_types_do_not_keep_the_others_from_being_read(weight, reason):
    weight = torch.nested.nested_tensor(weight) if isinstance(weight, list) else weight
    state = NET | {"odd.weight": weight}
    assert list(read_of(state)) == ["dw"]
    (found,) = left_out_of(state).values()
    assert found.startswith(reason)


def test_arrays_among_tensors_are_weights():
    arrays = {"a.weight": random(4, 1, 3, 3).numpy(), "b.weight": random(4, 1, 5, 5).numpy().astype(">f8")}
    read = read_of(NET | arrays)
    assert list(read) == ["dw", "a", "b"]
    assert np.array_equal(read["b"].numpy(), arrays["b.weight"][:, 0])


@pytest.mark.parametrize("sides", [3, 5, 7])
def test_kernels_of_sparse_convolutions(sides):
    """The columns of the encoder of a fully convolutional masked autoencoder, beside an ordinary decoder."""
    filters = random(8, sides, sides)
    encoder = {
        "encoder.0.dwconv.kernel": filters.permute(2, 1, 0).reshape(-1, 8),
        "encoder.down.kernel": random(4, 8, 16),
        "encoder.first.kernel": random(9, 1, 16),
    }
    read = read_of(encoder | {"decoder.dwconv.weight": random(16, 1, 7, 7)})
    assert list(read) == ["encoder.0.dwconv", "decoder.dwconv"]
    assert torch.equal(read["encoder.0.dwconv"], filters)
    assert left_out_of(encoder) == {}


def test_a_matrix_that_may_be_a_sparse_kernel_or_a_linear_layer_is_listed():
    assert list(left_out_of(NET | {"Dense_0.kernel": random(49, 10)})) == ["Dense_0.kernel"]
    assert left_out_of(NET | {"Dense_0.kernel": random(48, 10)}) == {}


@pytest.mark.parametrize(
    ("convolutions", "read", "doubted"),
    [
        ({"conv1": (32, 1, 3, 3), "conv2": (64, 32, 3, 3)}, [], False),
        ({"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "dw": (16, 1, 3, 3)}, ["dw"], False),
        ({"conv1": (32, 1, 3, 3), "dw": (32, 1, 3, 3), "pw": (64, 32, 1, 1)}, ["conv1", "dw"], True),
        ({"a": (32, 1, 7, 7), "pw": (64, 32, 1, 1), "dw2": (64, 1, 7, 7)}, ["a", "dw2"], True),
        ({"dw": (32, 1, 7, 7), "pw": (64, 32, 1, 1), "dw2": (64, 1, 7, 7)}, ["dw", "dw2"], False),
        ({"a": (16, 1, 3, 3), "b": (32, 1, 5, 5), "pw": (32, 16, 1, 1)}, ["a", "b"], False),
        ({"a": (8, 1, 3, 3), "b": (8, 8, 3, 3), "c": (8, 1, 3, 3), "d": (8, 8, 3, 3)}, ["a", "c"], True),
        ({"dw": (3, 1, 3, 3), "conv": (64, 3, 3, 3)}, ["dw"], False),
        ({"dw": (8, 1, 3, 3), "stem": (8, 3, 3, 3)}, ["dw"], False),
        ({"stem": (8, 3, 3, 3), "dw": (8, 1, 3, 3), "conv": (8, 8, 3, 3)}, ["dw"], False),
        ({"dw": (8, 1, 3, 3), "dw2": (8, 1, 3, 3)}, ["dw", "dw2"], False),
    ],
)
def test_the_first_layer_of_images_of_one_channel(convolutions, read, doubted, tmp_path):
    state = {f"{name}.weight": random(*shape) for name, shape in convolutions.items()} | {"fc.weight": random(2, 4)}
    if not read:
        with pytest.raises(CheckpointError, match=r"left out: 'conv1' \(it is the first layer of a network for"):
            extract(state)
        return
    bank = extract(state)
    assert [layer.name for layer in bank.layers] == read
    assert [note.startswith(f"layer '{read[0]}' is read as depthwise by its shape") for note in bank.notes][:1] == (
        [True] if doubted else []
    )


def test_the_first_layer_is_found_among_tensors_without_names():
    shapes = ((32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (64, 1, 5, 5), (10, 64))
    bank = extract({f"constants.{place}": random(*shape) for place, shape in enumerate(shapes)})
    assert [layer.name for layer in bank.layers] == ["constants.4"]
    assert [one.name for one in bank.left_out] == ["constants.0"]
    assert bank.left_out[0].reason.startswith("it is the first layer of a network for images of one channel")


BLOCK = {"blocks.0.attn.qkv": (576, 192), "blocks.0.attn.proj": (192, 192), "blocks.0.mlp.fc2": (192, 768)}
PATCHES = {"patch_embed.proj": (192, 1, 16, 16)}


@pytest.mark.parametrize(
    ("shapes", "name", "said"),
    [
        (PATCHES | BLOCK, "patch_embed.proj", "left out"),
        (BLOCK | PATCHES, "patch_embed.proj", "left out"),
        ({"proj": (192, 1, 16, 16)} | BLOCK, "proj", "left out"),
        ({"patch_embed1.proj": (192, 1, 7, 7)} | BLOCK | {"dwconv": (768, 1, 3, 3)}, "patch_embed1.proj", "left out"),
        ({"conv": (192, 1, 3, 3)} | BLOCK, "conv", "noted"),
        (BLOCK | {"conv": (192, 1, 3, 3)}, "conv", "read"),
        ({"dwconv": (192, 1, 16, 16)} | BLOCK, "dwconv", "read"),
        (PATCHES | BLOCK | {"stem": (192, 3, 16, 16)}, "patch_embed.proj", "read"),
        ({"stem": (192, 2, 16, 16)} | PATCHES | BLOCK, "patch_embed.proj", "read"),
    ],
)
def test_the_patch_embedding_of_images_of_one_channel(shapes, name, said):
    bank = extract({f"{key}.weight": random(*shape) for key, shape in shapes.items()} | {"dw.weight": NET["dw.weight"]})
    assert (name in [layer.name for layer in bank.layers]) == (said != "left out")
    assert [one.name for one in bank.left_out] == ([name] if said == "left out" else [])
    assert len(bank.notes) == (said == "noted")
    assert said != "noted" or bank.notes[0].startswith(f"layer {name!r} is read as depthwise by its shape")


BRANCHES = {"a.0": (16, 1, 9, 9), "a.1": (32, 16, 7, 7), "b.0": (20, 1, 7, 7), "b.1": (40, 20, 5, 5)}


@pytest.mark.parametrize(
    ("shapes", "said", "noted"),
    [
        (BRANCHES, ["a.0", "b.0"], False),
        (BRANCHES | {"fuse": (8, 72, 1, 1), "dw": (8, 1, 3, 3)}, ["a.0", "b.0"], False),
        (BRANCHES | {"mid": (8, 1, 3, 3), "c": (8, 8, 3, 3)}, ["a.0", "b.0", "mid"], False),
        (BRANCHES | {"pw": (8, 40, 1, 1), "dw": (8, 1, 3, 3), "c": (8, 8, 3, 3)}, ["a.0", "b.0"], True),
        ({"stem": (16, 4, 3, 3)} | BRANCHES | {"last": (8, 40, 3, 3)}, ["b.0"], True),
        ({"label": (10, 10)} | BRANCHES, ["a.0", "b.0"], False),
    ],
)
def test_the_first_layers_of_several_branches(shapes, said, noted):
    bank = extract({f"{name}.weight": random(*shape) for name, shape in shapes.items()}, kinds="all")
    kinds = {layer.name: layer.kind for layer in bank.layers}
    assert [kinds[name] for name in said] == ["depthwise" if noted else "ordinary"] * len(said)
    assert [note.split("'")[1] for note in bank.notes] == (said if noted else [])


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"s.dwconv.sigma_raw": torch.ones(8, 2)}, "'s.dwconv.sigma_raw' .a module computes its filters from these"),
        ({"dw.parametrizations.weight.original": torch.ones(0, 1, 7, 7)}, "sk.constrain computes .* of sk.bake"),
        (
            {"dw.weight": torch.ones(0)},
            r"an empty placeholder of a sharded .* .DeepSpeed ZeRO-3.; .*zero_to_fp32",
        ),
        ({"_flat_param": torch.ones(99)}, r"a flat parameter of a sharded training .FSDP."),
        ({"dw.weight": random(8, 1, 34), "dw.P": random(2, 8, 1, 34)}, "and their positions .DCLS."),
    ],
)
def test_what_stands_for_weights_is_explained(state, reason):
    with pytest.raises(CheckpointError, match=f"has no depthwise layers to read; left out: .*{reason}") as caught:
        extract(state | {"pw.weight": torch.ones(16, 8), "bias": torch.ones(8)})
    assert len(str(caught.value)) <= 500
    assert len(extract(NET | {f"more.{key}": value for key, value in state.items()}).left_out) == 1


@pytest.mark.parametrize("last", ["sigma", "sigma_x", "scale", "log_scales", "raw_sigma_y"])
@pytest.mark.parametrize("shape", [(8,), (8, 2), (8, 1, 1, 1)])
def test_scales_of_depthwise_layers_without_a_weight_are_listed(last, shape):
    listed = f"blocks.0.dwconv.{last}"
    others = [f"blocks.1.dwconv.norm.{last}", f"blocks.2.dwconv.{last}", f"blocks.3.dwconv.{last}"]
    state = {listed: torch.ones(shape)} | {key: torch.ones(8) for key in others}
    state |= {"blocks.2.dwconv.qweight": torch.ones(8, 9), "blocks.3.dwconv.conv.weight": random(8, 1, 3, 3)}
    left_out = left_out_of(state)
    assert list(left_out) == [listed]
    assert "computes its filters from these scales" in left_out[listed]


@pytest.mark.parametrize(
    "names", [("dw.base_layer", "dw.lora_{}.default"), ("dw.conv", "dw.lora_{}"), ("dw", "dw.lora_{}")]
)
def test_adapters_that_are_not_merged_are_told(names):
    own, part = names
    down, up = f"{part.format('A')}.weight", f"{part.format('B')}.weight"
    bank = extract({f"{own}.weight": random(8, 1, 3, 3), down: random(4, 1, 3, 3), up: random(8, 1, 1, 1)})
    assert [layer.name for layer in bank.layers] == [own]
    assert [(one.name, "part of an adapter" in one.reason) for one in bank.left_out] == [(down[:-7], True)]
    (note,) = bank.notes
    assert "1 layer has an adapter (LoRA) that is not merged into its weight" in note


def test_of_a_layer_that_was_trained_further_the_trained_weight_is_read():
    state = {"dw.original_module.weight": random(8, 1, 3, 3), "dw.modules_to_save.default.weight": random(8, 1, 3, 3)}
    assert list(read_of(state)) == ["dw.modules_to_save.default"]
    assert "modules_to_save" in left_out_of(state)["dw.original_module"]
    assert list(read_of(dict(list(state.items())[:1]))) == ["dw.original_module"]


def test_many_reasons_are_said():
    entries = [LeftOut(f"b.{number}", (8, 1, 3, 3), f"the reason {number}") for number in range(8000)]
    assert said_of([*entries, *entries[:1]]).startswith("'b.0' and 'b.0' (the reason 0); 'b.1' (the reason 1); ")


def test_buffers_of_a_module_are_listed():
    net = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    net.register_buffer("blur", random(8, 1, 3, 3))
    net.register_buffer("mask", torch.ones(8, 1, 3, 3, dtype=torch.bool))
    assert [(one.name, one.shape) for one in extract(net).left_out] == [("blur", (8, 1, 3, 3))]


def test_names_that_are_no_text_stop_no_atlas(tmp_path):
    torch.save(NET | {"\udcff.dw.weight": random(8, 1, 5, 5), "\udcff.filt": random(8, 1, 3, 3)}, tmp_path / "net.pth")
    bank = extract(tmp_path / "net.pth")
    assert [layer.name for layer in bank.layers] == ["dw", r"\udcff.dw"]
    assert [one.name for one in bank.left_out] == [r"\udcff.filt"]
    atlas.build([tmp_path / "net.pth"], tmp_path / "atlas")
    left_out = atlas.open(tmp_path / "atlas").sql("select name from left_out").to_arrow()
    assert left_out.to_pydict() == {"name": [r"\udcff.filt"]}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_lazy_weights_of_a_state_dict_are_listed():
    state = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LazyConv2d(8, 3, groups=8)).state_dict()
    lazy = "it is lazy and has no values yet; run the network once"
    with pytest.raises(CheckpointError, match=f"has no depthwise layers to read; left out: '1' .{lazy}"):
        extract(state)
    with pytest.raises(CheckpointError, match=f"holds no tensors by name .*'1.weight' .{lazy}"):
        extract({key: value for key, value in state.items() if key.startswith("1.")})
    assert left_out_of(NET | {"lazy.weight": state["1.weight"]}) == {"lazy": lazy}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_weights_that_are_objects_of_unknown_classes_are_listed(tmp_path):
    lazy = nn.LazyConv2d(8, 3, groups=8).weight
    odd = {"a.weight": Box(SAME), "b.weight": lazy, "b.bias": Box(SAME), "c.weight": Sharded()}
    torch.save(NET | odd, tmp_path / "net.pth")
    assert list(read_of(tmp_path / "net.pth")) == ["dw"]
    left_out = left_out_of(tmp_path / "net.pth")
    assert list(left_out) == ["a", "b", "c"]
    assert left_out["a"] == "it is an object of the class 'test_left_out.Box'; save its values as a plain tensor"
    assert left_out["b"] == "it is lazy and has no values yet; run the network once"
    assert "distributed over several processes" in left_out["c"]
