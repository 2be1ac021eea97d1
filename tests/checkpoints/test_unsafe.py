"""A pickle is never executed, whatever it says."""

import argparse
import builtins
import collections
import contextlib
import dataclasses
import datetime
import functools
import os
import pathlib
import pickle
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError

SENTENCE = (
    r"evil\.pth: wants to run 'posix\.system'; scalekeys never executes a pickle: where you trust the file, load "
    r"it yourself and save its weights with safetensors\.torch\.save_file\(model\.state_dict\(\), "
    r"'weights\.safetensors'\)$"
)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Evaluating:
    def __reduce__(self):
        return eval, ("1 + 1",)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


def test_the_attack_is_real(marker):
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


@pytest.mark.skipif(os.name != "posix", reason="the command is called otherwise elsewhere")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_checkpoint_is_refused_and_not_executed(zipped, marker, tmp_path):
    content = {"dw.weight": torch.ones(4, 1, 3, 3), "extra": Evil(marker)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=SENTENCE):
        extract(tmp_path / "evil.pth")
    assert not marker.exists()


@pytest.mark.skipif(os.name != "posix", reason="the command is called otherwise elsewhere")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_hostile_raw_pickle_is_refused_and_not_executed(protocol, marker, tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(marker), protocol=protocol))
    with pytest.raises(CheckpointError, match=SENTENCE):
        extract(tmp_path / "evil.pth")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 1])
def test_a_hostile_pickle_of_old_times_is_not_taken_for_one(protocol, marker, tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(marker), protocol=protocol))
    with pytest.raises(
        CheckpointError, match=r"evil\.pth: (is a text file, not a file of PyTorch weights|wants to run)"
    ):
        extract(tmp_path / "evil.pth")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "pytorch_model.bin", "model.ckpt"])
def test_another_name_does_not_help(name, marker, tmp_path):
    torch.save({"extra": Evil(marker)}, tmp_path / "evil.pth")
    (tmp_path / "evil.pth").rename(tmp_path / name)
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(CheckpointError, match="scalekeys never executes a pickle"):
            extract(source)
    assert not marker.exists()


def test_the_environment_cannot_allow_it(marker, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"extra": Evil(marker)}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="scalekeys never executes a pickle"):
        extract(tmp_path / "evil.pth")
    assert not marker.exists()


def test_a_function_of_the_language_is_named_in_full(tmp_path):
    torch.save({"extra": Evaluating()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"wants to run 'builtins\.eval'"):
        extract(tmp_path / "evil.pth")


class Calls:
    """Calls any function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Holder:
    """Becomes what it holds when it is unpickled, with a state beside it."""

    def __setstate__(self, state):
        pathlib.Path(state["marker"]).touch()


def hostile(marker):
    """Return what runs something in other ways than by the system: when it is built, and by what looks harmless."""
    holder = Holder()
    holder.marker = str(marker)
    touch = pathlib.Path(marker)
    through = Calls(map, pathlib.Path.touch, [touch])
    return {"built": holder, "partial": Calls(functools.partial, touch.touch), "mapped": Calls(list, through)}


@pytest.mark.parametrize("name", ["zip.pth", "old.pth", "plain.pkl", "net.npz", "net.nemo", "dcp", "script.pt"])
def test_in_no_container_anything_is_executed(name, marker, tmp_path):
    content = {"dw.weight": torch.ones(4, 1, 3, 3), **hostile(marker), "evil": Evil(marker)}
    for left_out in (None, "evil"):
        content.pop(left_out, None)
        path = tmp_path / name
        in_container(content, path)
        with contextlib.suppress(CheckpointError):
            extract(path)
        assert not marker.exists()


def in_container(content, path):
    if path.suffix == ".npz":
        np.savez(path, extra=np.array([content], dtype=object))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    elif path.suffix == ".nemo":
        torch.save(content, path.with_name("model_weights.ckpt"))
        with tarfile.open(path, "w:gz") as archive:
            archive.add(path.with_name("model_weights.ckpt"), "./model_weights.ckpt")
    elif path.suffix == "":
        path.mkdir(exist_ok=True)
        (path / ".metadata").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=not path.name.startswith("old"))
        if path.name == "script.pt":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr("script/constants.pkl", pickle.dumps(content))


@pytest.mark.parametrize("name", ["eval", "exec", "compile", "open", "__import__"])
def test_functions_that_run_are_named(name, tmp_path):
    content = {"dw.weight": np.ones((4, 1, 3, 3)), "extra": Calls(getattr(builtins, name), "1")}
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=rf"wants to run '(builtins|_?io)\.{name}'"):
        extract(tmp_path / "evil.pkl")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_read_without_its_class(net, zipped, tmp_path, assert_filters_of):
    net.blocks[0].register_buffer("passing", torch.ones(4, 1, 3, 3), persistent=False)
    torch.save(net, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    assert_filters_of(extract(tmp_path / "model.pth"), net, graph=False)
    assert set(open_source(tmp_path / "model.pth").tensors) == set(net.state_dict())


def test_a_model_inside_a_dict_is_read(net, tmp_path, assert_filters_of):
    torch.save({"model": nn.DataParallel(net), "epoch": 3}, tmp_path / "model.pth")
    bank = extract(tmp_path / "model.pth")
    assert_filters_of(bank, net, graph=False)
    assert bank.notes == ("weights are read from the entry 'model'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_public_checkpoints_carry_is_passed_over(net, zipped, tmp_path, assert_filters_of):
    extras = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"), when=datetime.datetime(2020, 1, 1)),
        "best": np.float64(0.7),
        "worst": np.float32(0.1),
        "count": np.int64(3),
        "history": np.arange(3.0),
        "meters": collections.defaultdict(list, loss=[0.1]),
        "epoch": 12,
    }
    torch.save({"model": net.state_dict(), **extras}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    bank = extract(tmp_path / "net.pth")
    assert_filters_of(bank, net, graph=False)
    assert bank.notes == ("weights are read from the entry 'model'",)


@dataclasses.dataclass
class State:
    """What training code of one's own may save."""

    model: dict
    epoch: int = 3


Pair = collections.namedtuple("Pair", "model epoch")
HELD = {
    "dataclass": State,
    "namespace": lambda state: argparse.Namespace(model=state),
    "simple": lambda state: types.SimpleNamespace(model=state),
    "tuple": lambda state: Pair(state, 3),
    "user dict": collections.UserDict,
    "nested": lambda state: {"run": State(argparse.Namespace(model=state)), "epoch": 3},
}


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize("name", HELD)
def test_weights_in_objects_of_any_class_are_read(name, suffix, net, tmp_path, assert_filters_of):
    path, content = tmp_path / f"net{suffix}", HELD[name](dict(net.state_dict()))
    if suffix == ".pth":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert_filters_of(extract(path), net, graph=False)


def test_weights_outside_objects_come_first(net, tmp_path, assert_filters_of):
    other = {key: torch.zeros_like(value) for key, value in net.state_dict().items()}
    torch.save({"last": State(other), "weights": net.state_dict(), "more": Pair(other, 3)}, tmp_path / "net.pth")
    assert_filters_of(extract(tmp_path / "net.pth"), net, graph=False)


def test_objects_without_weights_are_called_by_their_classes(tmp_path):
    torch.save({"run": State({}), "kind": State, "epoch": 3, "moments": {"exp_avg": torch.ones(4)}}, tmp_path / "a.pth")
    names = r"only values of type dict, int, test_unsafe\.State and type"
    with pytest.raises(CheckpointError, match=f"holds no tensors by name, {names}"):
        extract(tmp_path / "a.pth")
    torch.save(State({"model": 3}), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"holds an object of the class 'test_unsafe\.State' without weights"):
        extract(tmp_path / "b.pth")


def test_stand_ins_run_nothing_of_the_class_they_stand_for(net, tmp_path, monkeypatch, assert_filters_of):
    touched = []
    torch.save({"model": net.state_dict(), "args": argparse.Namespace(a=1)}, tmp_path / "net.pth")
    monkeypatch.setattr(argparse.Namespace, "__setstate__", lambda self, state: touched.append(self), raising=False)
    assert_filters_of(extract(tmp_path / "net.pth"), net, graph=False)
    assert touched == []


def test_what_the_user_has_allowed_stays_allowed(net, tmp_path):
    with torch.serialization.safe_globals([argparse.Namespace]):
        before = set(torch.serialization.get_safe_globals())
        torch.save({"model": net.state_dict(), "args": argparse.Namespace(a=1)}, tmp_path / "net.pth")
        extract(tmp_path / "net.pth")
        after = torch.serialization.get_safe_globals()
    assert set(after) == before
    assert not [given for given in after if isinstance(given, tuple) and given[0].__module__.startswith("scalekeys")]


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_protocol_is_read(protocol, zipped, net, tmp_path, assert_filters_of):
    content = {"state_dict": net.state_dict(), "history": np.arange(3.0), "best": np.float32(0.5), "seen": {1, 2}}
    torch.save(content, tmp_path / "net.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_filters_of(extract(tmp_path / "net.pth"), net, graph=False)
