"""What a file is when it is none of the formats that are read."""

import re
from contextlib import suppress
from pathlib import Path, PurePath

from scalekeys.checkpoints.formats.suffixes import TFJS
from scalekeys.files import is_file, open_regular

LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"GGUF", "a GGUF file"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
)
_OF_ONNXRUNTIME = "a model in the ORT format of onnxruntime"
_OF_TENSORFLOW = "a checkpoint of TensorFlow"
_SHARD_OF_TENSORFLOW_JS = "a file of TensorFlow.js weights"
_OF_PADDLE = "a graph of Paddle Inference"
_NETWORKS = {
    "saved_model.pb": "a SavedModel of TensorFlow",
    ".pb": "a graph of TensorFlow",
    ".index": _OF_TENSORFLOW,
    "manifest.ocdbt": "a checkpoint of Orbax",
    "_checkpoint_metadata": "a checkpoint of Orbax",
    ".msgpack": "a file of Flax weights",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML package",
    ".ort": _OF_ONNXRUNTIME,
    ".param": "an ncnn graph",
    ".mnn": "an MNN model",
    ".rknn": "an RKNN model",
    ".engine": "a TensorRT engine",
    ".caffemodel": "a Caffe model",
    ".weights": "a file of Darknet weights",
    ".pdiparams": "a file of Paddle Inference weights",
    ".pdmodel": _OF_PADDLE,
    ".mat": "a MATLAB file",
    ".t7": "a file of Lua Torch",
}
"""Networks in formats that are not read, by what their names end with."""
_SHARDS = (
    (re.compile(r".*\.data-\d{5}-of-\d{5}"), _OF_TENSORFLOW),
    (re.compile(r"group\d+-shard\d+of\d+(\.bin)?"), _SHARD_OF_TENSORFLOW_JS),
)
"""Parts of them, by their names."""
_GRAPHS = ((re.compile(rb'\s*\{"base_code":\s*\{"magic":\s*"pir"'), _OF_PADDLE),)
"""Graphs that are JSON files, by how these begin."""
_LIST_OF_SHARDS = re.compile(
    rb'\s*(\{.*("format"\s*:\s*"(graph|layers)-model"|"(modelTopology|weightsManifest)"\s*:)'
    rb'|\[\s*\{\s*"(weights|paths)"\s*:)',
    re.DOTALL,
)
MANIFEST = "weights_manifest.json"
"""What the names of lists of TensorFlow.js weights end with, where there is no model in them."""

_BESIDE = {".param": "a file of ncnn weights", ".xml": "a file of OpenVINO weights"}
"""Whose weights a ``.bin`` file holds, by how the name of the graph beside it goes on."""
_LISTS = (".json", f"-{MANIFEST}")
"""How the name of a list of shards goes on whose only shard is called as the list is."""
HEAD = 512
"""Bytes at the start of a file that tell its format."""

_NOT_READ = "a format that is not read; export the network to ONNX, or save its weights as safetensors"
_LISTED = "which a JSON file beside it lists; give that file"
_LIST_MISSING = "whose list of weights (model.json) is missing; fetch it into the same folder"

_PAGE = "an HTML page"
_TAR = (257, b"ustar", "a tar archive")


def foreign_kind(head: bytes) -> str:
    """Name the kind of a file from its first bytes; empty where they tell nothing.

    >>> foreign_kind(b"<!DOCTYPE html><html>"), foreign_kind(b"not found"), foreign_kind(bytes(16))
    ('an HTML page', 'a text file', '')
    """
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    start, signature, kind = _TAR
    if head[start:].startswith(signature):
        return kind
    if re.match(rb"\s*(<!doctype html|<html|<head)", head, re.IGNORECASE):
        return _PAGE
    if head.lstrip().startswith(b"<?xml"):
        return "an XML file"
    if head.lstrip()[:1] in (b"{", b"["):
        return "a JSON file"
    return "a text file" if _is_text(head) else ""


def foreign_network(name: str, head: bytes = b"") -> str:
    """Say in which format, of those that are not read, a network is that is called so; empty where that is not known.

    >>> foreign_network("net.mlmodel"), foreign_network("net.weights.h5"), foreign_network("a.xml", b"<?xml?><net id=>")
    ('a Core ML model', '', 'an OpenVINO graph')
    >>> foreign_network("group1-shard1of3.bin"), foreign_network("inference.json", b'{"base_code":{"magic":"pir"')
    ('a file of TensorFlow.js weights', 'a graph of Paddle Inference')
    """
    if head.lstrip().startswith(b"<?xml") and b"<net " in head:
        return "an OpenVINO graph"
    if head[4:8] == b"ORTM":
        return _OF_ONNXRUNTIME
    if foreign_kind(head) == _PAGE:  # what a server sent instead of the file
        return ""
    name = PurePath(name).name.lower()
    kinds = [kind for start, kind in _GRAPHS if start.match(head)]
    kinds += [kind for whole, kind in _SHARDS if whole.fullmatch(name)]
    kinds += [kind for end, kind in _NETWORKS.items() if name.endswith(end)]
    return kinds[0] if kinds else ""


def foreign_weights(path: Path) -> str:
    """Say of which format, of those that are not read, a ``.bin`` file is by what lies beside it; empty if unknown."""
    if any(parent.suffix == ".mlpackage" for parent in path.parents):
        return "a part of a Core ML package"
    if any(is_list_of_shards(path.with_name(path.stem + end)) for end in _LISTS):
        return _SHARD_OF_TENSORFLOW_JS
    return next((kind for end, kind in _BESIDE.items() if is_file(path.with_name(path.stem + end))), "")


def instead_of(kind: str, folder: Path) -> str:
    """Say what to do about a network of some kind that is not read and lies in a folder, as the end of a sentence.

    >>> instead_of("a file of TensorFlow.js weights", Path("nowhere"))
    'whose list of weights (model.json) is missing; fetch it into the same folder'
    """
    if kind != _SHARD_OF_TENSORFLOW_JS:
        return _NOT_READ
    with suppress(OSError):
        if any(map(is_list_of_shards, folder.iterdir())):
            return _LISTED
    return _LIST_MISSING


def lists_shards(head: bytes) -> bool:
    """Tell whether a file begins as a model of TensorFlow.js or a list of its weights, which lie in files beside it.

    >>> lists_shards(b'{"format": "graph-model"'), lists_shards(b'[{"paths": ['), lists_shards(b'{"layers": []}')
    (True, True, False)
    """
    return bool(_LIST_OF_SHARDS.match(head))


def is_list_of_shards(path: Path) -> bool:
    """Tell whether there is a JSON file that begins as a model of TensorFlow.js or a list of its weights."""
    if not path.name.lower().endswith(TFJS) or path.name.startswith("."):
        return False
    with suppress(OSError), open_regular(path) as file:
        return lists_shards(file.read(HEAD))
    return False


def _is_text(head: bytes) -> bool:
    """Tell whether bytes, which may end within a character, are UTF-8 without control characters."""
    text = head.decode("utf-8", errors="replace").rstrip("\ufffd")
    return bool(text) and "\ufffd" not in text and all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
