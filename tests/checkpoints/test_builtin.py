"""What comes with the package."""

import pytest
import torch

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError
from scalekeys.filters import master_keys


def test_the_published_filters():
    bank = extract("builtin:master-keys")
    (layer,) = bank.layers
    assert (bank.model, layer.name, layer.stride, bank.notes) == ("builtin:master-keys", "master_keys", None, ())
    assert layer.kernels.dtype == torch.float64
    assert torch.equal(layer.kernels, master_keys())


def test_the_network_trained_here():
    bank = extract("builtin:cifar-convnext")
    assert (bank.model, len(bank), bank.sizes) == ("builtin:cifar-convnext", 480, ((7, 7),))
    assert [len(layer) for layer in bank.layers] == [48, 48, 96, 96, 96, 96]
    assert bank.notes == ()


def test_an_unknown_name_lists_the_known_ones():
    match = "^builtin:keys: there is no such thing; what comes with the package is "
    match += "builtin:denoiser, builtin:master-keys and builtin:cifar-convnext$"
    with pytest.raises(CheckpointError, match=match):
        extract("builtin:keys")


def test_there_is_nothing_to_choose():
    with pytest.raises(CheckpointError, match="holds one set of weights and no 'params'"):
        extract("builtin:master-keys", weights="params")
