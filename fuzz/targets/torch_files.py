"""Targets that torch writes, and other pickles."""

import io
import pickle
import tarfile
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from fuzz.case import Files, Target
from fuzz.mutators import of_one, raw
from fuzz.mutators.archives import bomb, tar_members, zip_directory, zip_members
from fuzz.mutators.pickles import opcodes
from fuzz.targets.network import network, read_and_copy, state

_BYTES = of_one(raw.any_change)
_ZIPPED = (_BYTES, of_one(zip_members), of_one(zip_members), of_one(zip_directory), of_one(bomb))
_PICKLED = (_BYTES, of_one(opcodes), of_one(opcodes))


def _saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _contents() -> list[Any]:
    halves = {name: tensor.half() for name, tensor in state().items()}
    training = {"optimizer": {"state": {0: {"step": 1}}, "param_groups": []}, "args": Namespace(a=1), "epoch": 3}
    return [state(), {"state_dict": state(), "ema_state_dict": halves, **training}, network(), halves]


def _torch() -> Sequence[Files]:
    return [{"a.pth": _saved(content)} for content in _contents()]


def _old() -> Sequence[Files]:
    return [{"a.pth": _saved(content, _use_new_zipfile_serialization=False)} for content in _contents()]


def _pickle() -> Sequence[Files]:
    arrays = {name: tensor.numpy() for name, tensor in state().items()}
    return [{"a.pkl": pickle.dumps(tree, protocol)} for tree in (arrays, {"model": arrays}) for protocol in (2, 4)]


def _script() -> Sequence[Files]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that newer ways exist
        torch.jit.save(torch.jit.trace(network(), torch.ones(1, 3, 8, 8)), buffer)
    return [{"a.pt": buffer.getvalue()}]


def _program() -> Sequence[Files]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network(), (torch.ones(1, 3, 8, 8),)), buffer)
    return [{"a.pt2": buffer.getvalue()}]


def _distributed() -> Sequence[Files]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is one process only
        save_distributed({"model": state()}, checkpoint_id=folder, no_dist=True)
        return [{path.name: path.read_bytes() for path in Path(folder).iterdir()}]


def _nemo() -> Sequence[Files]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("model_config.yaml", b"a: 1\n"), ("model_weights.ckpt", _saved(state()))):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [{"a.nemo": buffer.getvalue()}]


def _target(name: str, samples: Callable[[], Sequence[Files]], mutations: tuple[Any, ...], file: str) -> Target:
    return Target(name, samples, mutations, read_and_copy(file))


TARGETS = (
    _target("torch", _torch, _ZIPPED, "a.pth"),
    _target("torch-old", _old, _PICKLED, "a.pth"),
    _target("pickle", _pickle, _PICKLED, "a.pkl"),
    _target("torchscript", _script, _ZIPPED, "a.pt"),
    _target("pt2", _program, _ZIPPED, "a.pt2"),
    _target("dcp", _distributed, (_BYTES, of_one(opcodes, ".metadata")), ""),
    _target("nemo", _nemo, (_BYTES, of_one(tar_members), of_one(tar_members)), "a.nemo"),
)
