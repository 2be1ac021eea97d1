"""How much of a safetensors file on a server is fetched for its depthwise filters.

Networks of timm with the shapes of the published ones are served from memory by a local server that counts the bytes
of files that go out, and read by ``sk.extract``. `gap` is the number of bytes between two weights that are fetched in
vain rather than asking twice. A network without depthwise layers costs its header.
"""

import argparse
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import scalekeys as sk
from atlas_sections import checkpoints
from fit_sections.record import table
from scalekeys.checkpoints.core.checkpoint import is_depthwise_shape
from scalekeys.checkpoints.web import ranged_safetensors
from scalekeys.errors import CheckpointError

HELP = "count the bytes and requests of reading by ranges"

_NETWORKS = ("convnext_tiny", "efficientnet_b0", "mobilenetv2_100", "resnet50")
_PATH = "/model.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", default=list(_NETWORKS))
    parser.add_argument("--gaps", nargs="+", type=int, default=[ranged_safetensors.GAP])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    sys.path.insert(0, str(checkpoints.TESTS))
    rows = []
    with import_module("ranged_server").serving() as server, tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            path, kernels = _written(Path(folder), name)
            server.files[_PATH] = path.read_bytes()
            rows += [_measured(server, name, path, kernels, gap) for gap in arguments.gaps]
    return {"networks": rows}


def show(results: dict[str, Any]) -> None:
    table("bytes that a server sends for the depthwise filters of a network", results["networks"])


def _written(folder: Path, name: str) -> tuple[Path, int]:
    """Save a network with random weights, and return the file and how many bytes of it are depthwise kernels."""
    state = checkpoints.timm().create_model(name).state_dict()
    path = folder / f"{name}.safetensors"
    import_module("safetensors.torch").save_file(state, path)
    return path, sum(value.nbytes for value in state.values() if is_depthwise_shape(tuple(value.shape)))


def _measured(server: Any, name: str, path: Path, kernels: int, gap: int) -> dict[str, Any]:
    server.forget()
    ranged_safetensors.GAP = gap
    bank = None
    with suppress(CheckpointError):  # where there are no such filters
        bank = sk.extract(server.url + _PATH)
    if bank is not None:
        _check_same(bank, sk.extract(path))
    size = path.stat().st_size
    return {
        "network": name,
        "gap": gap,
        "file_mb": round(size / 1e6, 1),
        "filters": len(bank or ()),
        "kernels_percent": round(100 * kernels / size, 2),
        "fetched_kb": round(server.sent / 1e3),
        "fetched_percent": round(100 * server.sent / size, 2),
        "requests": len(server.requests),
    }


def _check_same(bank: sk.FilterBank, local: sk.FilterBank) -> None:
    for mine, other in zip(bank.layers, local.layers, strict=True):
        if mine.name != other.name or not bool((mine.kernels == other.kernels).all()):
            raise SystemExit(f"{mine.name} differs from the same layer of the file")
