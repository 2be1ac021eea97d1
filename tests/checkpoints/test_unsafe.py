"""A pickle is never executed, whatever it says."""

import argparse
import collections
import datetime
import os
import pathlib
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from scalekeys.checkpoints import extract
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


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_refused_by_name(net, zipped, tmp_path):
    torch.save(nn.Sequential(net.blocks), tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    message = (
        r"model\.pth: holds a whole pickled model, not only its weights, and wants to run "
        r"'torch\.nn\.modules\.container\.Sequential'; scalekeys never executes a pickle: where you trust "
    )
    with pytest.raises(CheckpointError, match=message):
        extract(tmp_path / "model.pth")


def test_a_model_inside_a_dict_is_refused_by_name(net, tmp_path):
    torch.save({"model": net, "epoch": 3}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"holds a whole pickled model.* wants to run '.*small_network\.Net'"):
        extract(tmp_path / "model.pth")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_is_refused_by_name(net, tmp_path):
    torch.jit.trace(net.blocks, torch.zeros(1, 8, 8, 8)).save(tmp_path / "script.pt")
    message = r"script\.pt: is a TorchScript archive, which holds code.*torch\.jit\.load and save torch\.save\("
    with pytest.raises(CheckpointError, match=message):
        extract(tmp_path / "script.pt")


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
    assert bank.notes == ("read 'model'",)


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


def test_a_protocol_that_cannot_be_read_safely_is_refused(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="a pickle that cannot be read without executing it"):
        extract(tmp_path / "net.pth")
