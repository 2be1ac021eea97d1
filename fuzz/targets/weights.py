"""Targets that hold arrays by name: safetensors, sharded folders, npz and HDF5."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import save

from fuzz.case import Files, Target
from fuzz.mutators import of_one, raw, tables, tree
from fuzz.mutators.archives import bomb, zip_directory, zip_members
from fuzz.targets.network import read_and_copy, state

_BYTES = of_one(raw.any_change)


def _safetensors() -> Sequence[Files]:
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn)
    return [{"a.safetensors": save({name: tensor.to(kind) for name, tensor in state().items()})} for kind in kinds]


def _sharded() -> Sequence[Files]:
    parts = [{name: tensor} for name, tensor in state().items() if name.endswith("weight")]
    names = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    home = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": home}).encode()
    files = {name: save(part) for name, part in zip(names, parts, strict=True)}
    return [{**files, "model.safetensors.index.json": index, "config.json": b'{"model_type": "x"}'}]


def _npz() -> Sequence[Files]:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state().items()}
    plain, compressed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)
    np.savez_compressed(compressed, **arrays)
    return [{"a.npz": buffer.getvalue()} for buffer in (plain, compressed)]


def _hdf5() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [b"stem", b"dw"]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for layer, weight in (("stem", "kernel:0"), ("dw", "depthwise_kernel:0")):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{weight}".encode()]
            shape = (3, 3, 4, 1) if layer == "dw" else (3, 3, 3, 4)
            group[f"{layer}/{weight}"] = np.ones(shape, "f4")
    return buffer.getvalue()


def _keras() -> Sequence[Files]:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/depthwise_conv2d/vars/0"] = np.ones((3, 3, 4, 1), "f4")
        file["layers/depthwise_conv2d/vars/1"] = np.ones(4, "f4")
    layer = {
        "module": "keras.layers",
        "class_name": "DepthwiseConv2D",
        "config": {
            "name": "dw",
            "kernel_size": [3, 3],
            "strides": [1, 1],
            "dilation_rate": [1, 1],
            "depth_multiplier": 1,
        },
    }
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [layer]}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (
            ("metadata.json", b'{"keras_version": "3.0.0"}'),
            ("config.json", json.dumps(config).encode()),
            ("model.weights.h5", weights.getvalue()),
        ):
            archive.writestr(zipfile.ZipInfo(name), content)
    return [{"a.keras": buffer.getvalue()}]


_ZIPPED = (_BYTES, of_one(zip_members), of_one(zip_members), of_one(zip_directory), of_one(bomb))

TARGETS = (
    Target("safetensors", _safetensors, (_BYTES, of_one(tree.safetensors_header)), read_and_copy("a.safetensors")),
    Target(
        "sharded",
        _sharded,
        (_BYTES, of_one(tree.json_text, ".json"), of_one(tree.safetensors_header, ".safetensors")),
        read_and_copy(),
    ),
    Target("npz", _npz, (*_ZIPPED, of_one(tables.npy_header)), read_and_copy("a.npz")),
    Target(
        "h5",
        lambda: [{"a.h5": _hdf5()}],
        (_BYTES, of_one(tables.hdf5_item), of_one(tables.hdf5_item)),
        read_and_copy("a.h5"),
    ),
    Target("keras", _keras, _ZIPPED, read_and_copy("a.keras")),
)
