"""TensorFlow.js: graph models, models of Keras and weights alone, with shards; every value is compared exactly."""

import json

import numpy as np
import pytest
import torch
from fuzz.targets.tfjs_models import graph_model, groups, layers_model, node, weights_alone

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.source import open_source
from scalekeys.errors import CheckpointError

RNG = np.random.default_rng(0)
KERNELS = RNG.standard_normal((3, 5, 6, 2)).astype("f4")
ONES = (1, 1, 1, 1)


def expected(weight):
    """Return the kernels of a weight (rows, cols, channels, multiplier), in the order of the output channels."""
    rows, cols = weight.shape[:2]
    return torch.from_numpy(np.ascontiguousarray(weight.reshape(rows, cols, -1).transpose(2, 0, 1), "f4"))


def written(folder, files, name="model.json"):
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / name


def graph_of(tmp_path, nodes, weights, **options):
    return written(tmp_path, graph_model(nodes, weights, **options))


def depthwise(weight="dw/depthwise_weights", before="x", **attributes):
    attributes = {"strides": ONES, "dilations": ONES} | attributes
    return node("net/dw/depthwise", "DepthwiseConv2dNative", before, weight, **attributes)


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        extract(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("shards", [1, 4])
def test_a_graph_with_strides_dilations_and_shards_that_end_within_a_weight(shards, tmp_path):
    nodes = [
        node("first/depthwise", "FusedDepthwiseConv2dNative", "x", "a", strides=(1, 2, 2, 1), dilations=ONES),
        node(
            "StatefulPartitionedCall/second/depthwise",
            "DepthwiseConv2dNative",
            "first/depthwise",
            "b",
            layout="NCHW",
            strides=ONES,
            dilations=(1, 1, 3, 3),
        ),
    ]
    halved = KERNELS[:, :, ::2].astype("f2"), "float32", {"dtype": "float16"}
    weights = {"a": KERNELS, "size": np.array([7], "i4"), "yes": np.array([True]), "b": halved}
    bank = extract(graph_of(tmp_path, nodes, weights, shards=shards))
    assert [(layer.name, layer.stride, layer.dilation) for layer in bank.layers] == [("first", 2, 1), ("second", 1, 3)]
    assert not bank.notes  # on a dilation that is not the same along both axes
    assert torch.equal(bank.layers[0].kernels, expected(KERNELS))
    assert torch.equal(bank.layers[1].kernels, expected(halved[0].astype("f4")))


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_quantised_weights_are_rounded_once(kind, tmp_path):
    integers, quantisation = RNG.integers(0, 255, (3, 3, 4, 1)).astype(kind), {"scale": 0.0123, "min": -1.6}
    weights = {"dw/depthwise_weights": (integers, "float32", quantisation | {"dtype": kind})}
    (layer,) = extract(graph_of(tmp_path, [depthwise()], weights)).layers
    assert torch.equal(layer.kernels, expected((integers * 0.0123 - 1.6).astype("f4")))


@pytest.mark.parametrize("layout", ["int32", "uint8"])
def test_a_dilation_that_is_said_by_spreading_the_input_over_a_batch(layout, tmp_path):
    block = np.array([2, 2], "i4")
    if layout == "uint8":
        block = np.array([0, 0], "u1"), "int32", {"dtype": "uint8", "scale": 1.0, "min": 1.6}
    nodes = [
        node("block/read", "Identity", "block"),
        node("spread", "SpaceToBatchND", "x", "block/read"),
        node("handed", "Identity", "spread:0"),
        depthwise(before="handed"),
    ]
    (layer,) = extract(graph_of(tmp_path, nodes, {"dw/depthwise_weights": KERNELS, "block": block})).layers
    assert (layer.name, layer.stride, layer.dilation) == ("net/dw", 1, 2)


def test_what_stands_between_a_weight_and_its_convolution(tmp_path):
    nodes = [
        node("read", "Identity", "w", "^later"),
        node("branch", "Switch", "read", "yes"),
        depthwise("branch:1"),
        node("again", "DepthwiseConv2dNative", "net/dw/depthwise", "w", strides=ONES),
        node("scaled", "Mul", "w", "yes"),
        node("computed", "DepthwiseConv2dNative", "again", "scaled", strides=ONES),
        node("given", "DepthwiseConv2dNative", "again", "y", strides=ONES),
        node("dense", "Conv2D", "again", "scaled", strides=ONES),
        node("round", "Identity", "round"),
        node("endless", "DepthwiseConv2dNative", "again", "round", strides=ONES),
    ]
    bank = extract(graph_of(tmp_path, nodes, {"w": KERNELS, "yes": np.array(True)}))
    assert [layer.name for layer in bank.layers] == ["net/dw"]
    assert {one.name: one.reason for one in bank.left_out} == {
        "computed": "its weight is computed by the operator Mul",
        "endless": "its weight is computed by the operator Identity",
        "given": "its weight is handed in, or is stored in another file",
    }


def with_functions(tmp_path, nodes, weights, *functions):
    files = graph_model(nodes, weights)
    document = json.loads(files["model.json"])
    document["modelTopology"]["library"] = {"function": [{"nodeDef": function} for function in functions]}
    return written(tmp_path, files | {"model.json": json.dumps(document).encode()})


def test_convolutions_in_the_functions_of_a_graph(tmp_path):
    path = with_functions(tmp_path, [], {"f/w": KERNELS}, [node("f/w", "Const"), depthwise("f/w:output:0")])
    (layer,) = extract(path).layers
    assert torch.equal(layer.kernels, expected(KERNELS))


def test_every_convolution_whose_weight_cannot_be_read_is_told(tmp_path):
    def given(name, *inputs):
        return node(name, "DepthwiseConv2dNative", *inputs, strides=ONES)

    nodes = [
        node("y", "Placeholder"),
        *(given(name, "x", "y") for name in ("a", "b", "c")),
        given("d", "x"),
        given("e", "x"),
        node("volume", "Conv3D", "x", "w", strides=(1,) * 5),
        depthwise("w"),
    ]
    functions = [[given("f", "x", "filter")], [given("g", "x", "filter")]]
    opened = open_source(with_functions(tmp_path, nodes, {"w": KERNELS}, *functions))
    assert [one.name for one in opened.left_out] == list("abcdefg")
    assert [layer.name for layer in opened.layers] == ["net/dw"]


def test_kinds_of_convolutions(tmp_path):
    nodes = [
        node("dense", "_FusedConv2D", "x", "c", strides=ONES),
        node("up", "Conv2DBackpropInput", "size", "c", "dense", strides=(1, 2, 2, 1)),
        node("mono", "DepthwiseConv2dNative", "y", "one", strides=ONES),
        node("point", "DepthwiseConv2dNative", "y", "p", strides=ONES),
        node("integers", "DepthwiseConv2dNative", "y", "i", strides=ONES),
        node("flat", "DepthwiseConv2dNative", "y", "f", strides=ONES),
        node("volume", "Conv3D", "y", "v", strides=(1, 1, 1, 1, 1)),
        depthwise("w"),
    ]
    weights = {
        "c": KERNELS,
        "one": KERNELS[:, :, :1],
        "p": KERNELS[:1, :1],
        "i": np.ones((3, 3, 4, 1), "i4"),
        "f": np.ones((3, 3, 4), "f4"),
        "v": np.ones((3, 3, 3, 2, 4), "f4"),
        "w": KERNELS,
        "unused": KERNELS,
    }
    path = graph_of(tmp_path, nodes, weights)
    opened = open_source(path)
    assert [layer.name for layer in opened.layers] == ["net/dw"]
    assert opened.ordinary == 2  # the weight of `up` is that of `dense`
    assert {one.name: one.reason for one in opened.left_out} == {
        "mono": "its input has one channel, so that it is an ordinary convolution",
        "integers": "its weight holds int32",
        "flat": "its weight has 3 axes",
    }
    assert torch.equal(opened.load("unused"), torch.from_numpy(KERNELS).permute(3, 2, 0, 1))
    bank = extract(path, kinds="ordinary")
    assert [layer.name for layer in bank.layers] == ["dense", "mono", "volume"]
    assert torch.equal(bank.layers[0].kernels, torch.from_numpy(KERNELS).permute(3, 2, 0, 1).reshape(12, 3, 5))


def test_a_volume_without_dilations_whose_input_is_spread_over_a_batch(tmp_path):
    nodes = [node("spread", "SpaceToBatchND", "x", "block"), node("volume", "Conv3D", "spread", "v", strides=(1,) * 5)]
    weights = {"v": np.ones((3, 3, 3, 2, 4), "f4"), "block": np.array([2, 2, 2], "i4")}
    (layer,) = extract(graph_of(tmp_path, nodes, weights), kinds="ordinary").layers
    assert (layer.stride, layer.dilation) == (1, 2)


def test_a_transposed_convolution_has_its_outputs_first(tmp_path):
    path = graph_of(tmp_path, [node("up", "Conv2DBackpropInput", "size", "w", "x", strides=ONES)], {"w": KERNELS})
    (layer,) = extract(path, kinds="ordinary").layers
    assert layer.channels == (6, 2)
    assert torch.equal(layer.kernels, torch.from_numpy(KERNELS).permute(2, 3, 0, 1).reshape(12, 3, 5))


def test_a_model_of_keras(tmp_path):
    def layer(name, class_name="DepthwiseConv2D", stride=1):
        return {"class_name": class_name, "config": {"name": name, "strides": [stride] * 2, "dilation_rate": [1, 1]}}

    inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [layer("dw_1", "SeparableConv2D")]}}
    layers = [layer("stem", "Conv2D"), layer("dw", stride=2), inner, layer("up", "Conv2DTranspose")]
    weights = {
        "up/kernel": KERNELS,
        "inner/dw_1/depthwise_kernel": KERNELS[:, :, ::-1].copy(),
        "inner/dw_1/pointwise_kernel": np.ones((1, 1, 12, 4), "f4"),
        "dw/depthwise_kernel": KERNELS,
        "dw/bias": np.ones(12, "f4"),
        "stem/kernel": KERNELS,
    }
    path = written(tmp_path, layers_model(layers, weights, 3))
    bank = extract(path)
    assert [(one.name, one.stride) for one in bank.layers] == [("dw", 2), ("inner/dw_1", 1)]
    assert torch.equal(bank.layers[0].kernels, expected(KERNELS))
    assert torch.equal(bank.layers[1].kernels, expected(KERNELS[:, :, ::-1]))
    assert open_source(path).ordinary == 2


def test_weights_alone_are_told_by_their_names(tmp_path):
    scaled = RNG.integers(0, 255, (3, 3, 4, 1)).astype("u1"), "float32", {"dtype": "uint8", "scale": 0.5, "min": -3.25}
    weights = {
        "conv0/filters": KERNELS,
        "dense0/conv1/depthwise_filter": scaled,
        "dense0/conv1/pointwise_filter": np.ones((1, 1, 4, 4), "f4"),
        "MobilenetV1/Conv2d_2_depthwise/depthwise_weights": KERNELS,
    }
    path = written(tmp_path, weights_alone(weights, 2), "net-weights_manifest.json")
    bank = extract(path)
    assert [(layer.name, layer.stride) for layer in bank.layers] == [
        ("dense0/conv1", None),
        ("MobilenetV1/Conv2d_2_depthwise", None),
    ]
    assert torch.equal(bank.layers[0].kernels, expected((scaled[0] * 0.5 - 3.25).astype("f4")))
    assert torch.equal(bank.layers[1].kernels, expected(KERNELS))
    assert (bank.model, open_source(path).ordinary) == ("net", 1)


def test_texts_and_complex_numbers_among_the_weights(tmp_path):
    files = graph_model([depthwise()], {"complex": np.ones(3, "c8"), "dw/depthwise_weights": KERNELS})
    document = json.loads(files["model.json"])
    document["weightsManifest"][0]["weights"].insert(0, {"name": "words", "shape": [3], "dtype": "string"})
    shard = b"\2\0\0\0ab\0\0\0\0" + (5000).to_bytes(4, "little") + bytes(5000) + files["group1-shard1of1.bin"]
    path = written(tmp_path, {"model.json": json.dumps(document).encode(), "group1-shard1of1.bin": shard})
    (layer,) = extract(path).layers
    assert torch.equal(layer.kernels, expected(KERNELS))
    opened = open_source(path)
    assert torch.equal(opened.load("complex"), torch.ones(3, dtype=torch.complex64))
    assert "words" not in opened.tensors


def test_folders(tmp_path):
    files = graph_model([depthwise()], {"dw/depthwise_weights": KERNELS}, 2)
    shard = {"weights.bin": files["group1-shard1of2.bin"] + files["group1-shard2of2.bin"]}
    one = files["model.json"].replace(b'"group1-shard1of2.bin", "group1-shard2of2.bin"', b'"weights.bin"')
    (tmp_path / "one").mkdir()
    written(tmp_path / "one", {"net.json": one, "package.json": b'{"name": "net"}', **shard})
    bank = extract(tmp_path / "one")
    assert (bank.model, len(bank)) == ("one", 12)
    written(tmp_path / "one", {"other.json": one})
    refused(tmp_path / "one", r"holds several files of weights \(net\.json and other\.json\); name one of them")
    nested = one.replace(b'"weights.bin"', b'"shards/weights.bin"')
    (tmp_path / "two").mkdir()
    written(tmp_path / "two", {"model.json": nested, "shards/weights.bin": shard["weights.bin"]})
    assert len(extract(tmp_path / "two")) == 12
    torch.save(
        {"dw.weight": torch.ones(4, 1, 3, 3), "fc.weight": torch.ones(2, 4)}, tmp_path / "two" / "pytorch_model.bin"
    )
    assert len(extract(tmp_path / "two")) == 4


def test_a_model_is_only_read(tmp_path):
    written(tmp_path, graph_model([depthwise()], {"dw/depthwise_weights": KERNELS}))
    for source in (tmp_path, tmp_path / "model.json"):
        opened = open_source(source)
        assert opened.copying is None
        assert opened.only_read == "TensorFlow.js files are only read; give the network, or its state dict"


def test_a_link_out_of_the_folder_is_refused_and_those_of_a_cache_are_followed(tmp_path):
    files = graph_model([depthwise()], {"dw/depthwise_weights": KERNELS})
    for folder in ("blobs", "snapshot", "alone"):
        (tmp_path / folder).mkdir()
    (shard,) = files.keys() - {"model.json"}
    written(tmp_path / "blobs", files)
    written(tmp_path / "alone", {"model.json": files["model.json"]})
    for name in files:
        (tmp_path / "snapshot" / name).symlink_to(f"../blobs/{name}")
    assert len(extract(tmp_path / "snapshot")) == 12
    (tmp_path / "alone" / shard).symlink_to(f"../blobs/{shard}")
    refused(tmp_path / "alone", r"lie in 'group1-shard1of1\.bin', which is no file below its folder, and are not read")


def _entry(**changes):
    return lambda group: group["weights"][0].update(changes)


SCALED = {"dtype": "uint8", "scale": 1, "min": 0}
DAMAGES = {
    "a missing shard": (lambda group: group["paths"].append("b.bin"), r"the shard b\.bin is missing; fetch it"),
    "a shard above": (lambda group: group["paths"].append("../x.bin"), r"lie in '\.\./x\.bin', which is no file below"),
    "a shard elsewhere": (lambda group: group["paths"].append("/dev/zero"), "which is no file below its folder"),
    "a shard in no text": (lambda group: group["paths"].append(3), "lie in 3, which is no file below its folder"),
    "a shard twice": (lambda group: group["paths"].append(group["paths"][0]), "a shard is listed twice"),
    "a weight twice": (lambda group: group["weights"].append(group["weights"][0]), "two weights are called 'w'"),
    "an unknown type": (_entry(dtype="float8"), "the weight 'w' is stored as 'float8' for 'float8'"),
    "an unknown integer": (_entry(quantization={"dtype": "int4"}), "is stored as 'int4' for 'float32'"),
    "quantised texts": (_entry(quantization=SCALED, dtype="string"), "is stored as 'uint8' for 'string'"),
    "no scale": (_entry(quantization={"dtype": "uint8"}), r"damaged or cut short \(its entry 'scale' is missing\)"),
    "a scale of words": (_entry(quantization=SCALED | {"scale": "a"}), 'is not a number but "a"'),
    "no paths": (lambda group: group.pop("paths"), "its entry 'paths' is missing"),
    "weights in an object": (lambda group: group.update(weights={}), r"its entry 'weights' is not a list but \{\}"),
    "a huge scale": (_entry(quantization=SCALED | {"scale": 10**400}), "damaged or cut short"),
    "a negative side": (_entry(shape=[-3, 5, 6, 2]), r"the weight 'w' has the shape \[-3, 5, 6, 2\]"),
    "a huge side": (_entry(shape=[2**40, 2**40]), "the weight 'w' has the shape"),
    "too many values": (_entry(shape=[3, 5, 6, 200]), "hold 720 bytes in the place of 72000; fetch them again"),
    "too few values": (_entry(shape=[3, 5, 6, 1]), "hold 720 bytes in the place of 360; fetch them again"),
    "texts cut short": (_entry(dtype="string", shape=[99]), "the texts of 'w' are cut short|hold 720 bytes"),
    "no name": (lambda group: group["weights"][0].pop("name"), "its entry 'name' is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest(damage, tmp_path):
    change, match = DAMAGES[damage]
    manifest, parts = groups({"w": KERNELS})
    change(manifest[0])
    refused(written(tmp_path, {"model.json": json.dumps(manifest).encode(), **parts}), match)


def _of_node(**changes):
    return {"modelTopology": {"node": [{"name": "a", "op": "Conv2D"} | changes]}, "weightsManifest": []}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"format": "graph-model"', "Expecting"),
        ({"format": "graph-model"}, "its entry 'weightsManifest' is missing"),
        ({"format": "graph-model", "weightsManifest": {}}, r"its entry 'weightsManifest' is not a list but \{\}"),
        ({"weightsManifest": [[]]}, r"a part of it is not an object but \[\]"),
        ({"modelTopology": 3, "weightsManifest": []}, "its entry 'modelTopology' is not an object but 3"),
        ({"modelTopology": [], "weightsManifest": []}, r"its entry 'modelTopology' is not an object but \[\]"),
        ({"modelTopology": {"node": 3}, "weightsManifest": []}, "its entry 'node' is not a list but 3"),
        (_of_node(name=3), "its entry 'name' is not a text but 3"),
        (_of_node(op=None), "its entry 'op' is missing"),
        (_of_node(input=[3]), "the inputs of its node 'a' are not texts"),
        (_of_node(attr={"strides": []}), r"its entry 'strides' is not an object but \[\]"),
        (_of_node(attr={"strides": {"list": {"i": "a"}}}), r"its entry 'strides\.list\.i' is not a list but \"a\""),
        (_of_node(attr={"strides": {"list": {"i": [None]}}}), r"its entry .* is not a list of integers but \[null\]"),
        (_of_node(attr={"data_format": {"s": 3}}), r"its entry 'data_format\.s' is not a text in base 64"),
        (b'{"weightsManifest": ' + b"[" * 100_000, "it is nested too deeply|Expecting"),
    ],
)
def test_a_damaged_model(document, why, tmp_path):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    match = rf"is no TensorFlow.js model, or is damaged or cut short \(({why})"
    refused(written(tmp_path, {"model.json": content}), match)


def test_json_of_another_kind_and_a_model_without_depthwise_layers(tmp_path):
    refused(written(tmp_path, {"model.json": b"[1, 2]"}), "is a JSON file, not a file of .*TensorFlow.js, Tensor")
    path = graph_of(tmp_path, [node("dense", "Conv2D", "x", "w", strides=ONES)], {"w": KERNELS})
    refused(path, "has no depthwise layers to read; it has 1 convolution with kernel 3x5; kinds")
    (tmp_path / "group1-shard1of1.bin").write_bytes(KERNELS.tobytes()[:-1])
    refused(path, r"its shards \(group1-shard1of1\.bin\) hold 719 bytes in the place of 720; fetch them again")
