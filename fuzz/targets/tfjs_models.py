"""Models of TensorFlow.js: a JSON file, and shards of weights beside it."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fuzz.case import Files

Weights: TypeAlias = Mapping[str, Any]
"""Arrays by name, or (array, type of its numbers, quantisation)."""


def groups(weights: Weights, shards: int = 1) -> tuple[list[dict[str, Any]], Files]:
    """Return a manifest of one group and its shards, which are cut without regard to where a weight ends."""
    entries, content = [], b""
    for name, given in weights.items():
        values, dtype, quantisation = given if isinstance(given, tuple) else (given, given.dtype.name, None)
        entry = {"name": name, "shape": list(values.shape), "dtype": dtype}
        entries.append(entry | ({"quantization": quantisation} if quantisation else {}))
        content += values.tobytes()
    paths = [f"group1-shard{number}of{shards}.bin" for number in range(1, shards + 1)]
    size = -(-len(content) // shards)
    parts = {path: content[at * size : (at + 1) * size] for at, path in enumerate(paths)}
    return [{"paths": paths, "weights": entries}], parts


def node(name: str, op: str, *inputs: str, layout: str = "NHWC", **sides: Sequence[int]) -> dict[str, Any]:
    """Return a node of a graph; `sides` are its attributes with a number for each axis."""
    lists = {key: {"list": {"i": list(map(str, values))}} for key, values in sides.items()}
    text = {"data_format": {"s": b64encode(layout.encode()).decode()}}
    return {"name": name, "op": op, "input": list(inputs), "attr": lists | text}


def graph_model(nodes: Sequence[Mapping[str, Any]], weights: Weights, shards: int = 1) -> Files:
    """Return a graph model, whose weights are constants."""
    constants = [node(name, "Const") for name in weights]
    return _model("graph-model", {"node": [*constants, *nodes], "library": {}}, weights, shards)


def layers_model(layers: Sequence[Mapping[str, Any]], weights: Weights, shards: int = 1) -> Files:
    """Return a model of Keras, of layers with a class and settings."""
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}
    return _model("layers-model", {"keras_version": "2.10.0", "model_config": config}, weights, shards)


def weights_alone(weights: Weights, shards: int = 1) -> Files:
    """Return a manifest without a model."""
    manifest, parts = groups(weights, shards)
    return {"net-weights_manifest.json": json.dumps(manifest).encode(), **parts}


def _model(kind: str, topology: Mapping[str, Any], weights: Weights, shards: int) -> Files:
    manifest, parts = groups(weights, shards)
    document = {"format": kind, "modelTopology": topology, "weightsManifest": manifest}
    return {"model.json": json.dumps(document).encode(), **parts}


def samples() -> Sequence[Files]:
    """Return a model of each kind, with plain and quantised weights."""
    values = np.random.default_rng(0).normal(size=(3, 3, 4, 1))
    scaled = (np.round(40 * values + 128).astype("u1"), "float32", {"dtype": "uint8", "scale": 0.025, "min": -3.2})
    halved = (values.astype("f2"), "float32", {"dtype": "float16"})
    block = np.array([2, 2], "i4")
    nodes = [
        node("spread", "SpaceToBatchND", "x", "block"),
        node("dw/depthwise", "DepthwiseConv2dNative", "spread", "dw/weights", strides=(1, 1, 1, 1)),
        node("back", "BatchToSpaceND", "dw/depthwise", "block"),
        node("second", "FusedDepthwiseConv2dNative", "back", "half", strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1)),
    ]
    layer = {"class_name": "DepthwiseConv2D", "config": {"name": "dw", "strides": [2, 2], "dilation_rate": [1, 1]}}
    named = {"dw/depthwise_kernel": values.astype("f4"), "dw/bias": np.ones(4, "f4")}
    manifest = weights_alone({"conv/depthwise_filter": scaled, "conv/bias": np.ones(4, "f4")}, 2)
    return [
        graph_model(nodes, {"dw/weights": scaled, "half": halved, "block": block}, 2),
        layers_model([layer], named),
        {"model.json": manifest.pop("net-weights_manifest.json"), **manifest},
    ]
