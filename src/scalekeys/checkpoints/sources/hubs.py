"""Hubs: ``timm:NAME`` and ``hf:NAME``. What is in the local cache is not fetched again, and works without a network."""

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.formats.suffixes import OF_WEIGHTS
from scalekeys.checkpoints.sources.addresses import open_address
from scalekeys.checkpoints.sources.folder import load_state, open_folder
from scalekeys.checkpoints.sources.folder_names import find_weights
from scalekeys.checkpoints.sources.hub_files import LONGEST_WAIT, hub_client, hub_file
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import CheckpointError, listed
from scalekeys.optional import in_short, require

_WANTED = (
    ("config.json", "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("*.safetensors", "*.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
    tuple(f"*{suffix}" for suffix in OF_WEIGHTS),
)
_NOT_WANTED = ("*/*", "optimizer*", "scheduler*", "training_args*", "rng_state*")
_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def open_timm(name: str, wanted: Wanted) -> Checkpoint:
    """Open a pretrained model of timm.

    Raises MissingExtraError if timm is not installed; CheckpointError if timm does not know the name, or its weights
    can neither be found nor fetched.
    """
    label = f"timm:{name}"
    return open_module(create_timm(name), wanted, label=label, model=label)


def create_timm(name: str, *, pretrained: bool = True, **options: Any) -> nn.Module:
    """Make a model of timm, with its trained weights or with random ones.

    `**options`: of ``timm.create_model``, such as the number of classes.
    Raises MissingExtraError if timm is not installed; CheckpointError if timm does not know the name, or its weights
    can neither be found nor fetched.
    """
    label = f"timm:{name}"
    timm = require("timm", extra="timm")
    if ":" not in name:  # what has a colon is in a repository of the hub or a local folder
        _check_name(timm, name, pretrained=pretrained)
    try:
        with weights_only(), one_attempt() if pretrained else nullcontext():
            module: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{label}: is stored as a pickle that would have to be executed, and scalekeys never executes a pickle; "
            "look for a copy in safetensors"
        ) from error
    except Exception as error:  # timm, the hub client and the network have no common class
        raise not_fetched(label, error, "give a checkpoint file instead") from error
    return module


def open_hf(name: str, wanted: Wanted) -> Checkpoint:
    """Open a model of the Hugging Face hub, as ``ORG/NAME`` or ``ORG/NAME@REVISION``.

    Safetensors files are preferred; of those, only the header and the filters are fetched, unless they are in the local
    cache. A pickled format is fetched, as a whole, only where there are none.

    Raises MissingExtraError if huggingface_hub is not installed; CheckpointError if it can neither be found nor
    fetched, or holds no weights.
    """
    label = f"hf:{name}"
    hub = hub_client()
    repository, _, revision = name.partition("@")
    try:
        with one_attempt():
            if (remote := hub_file(hub, repository, revision or None, label=label)) is not None:
                return open_address(remote, wanted, model=label)
            folder = _snapshot(hub, repository, revision or None)
    except CheckpointError:
        raise
    except Exception as error:  # the hub client and the network have no common class
        raise not_fetched(label, error, "give the folder that holds it instead") from error
    copying = state_dict_copying(label, partial(load_state, folder, wanted.weights))
    return replace(open_folder(folder, wanted), model=label, copying=copying)


def _snapshot(hub: Any, repository: str, revision: str | None) -> Path:
    """Fetch one format after another until there are weights."""
    folder = Path()
    for patterns in _WANTED:
        folder = Path(
            hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(_NOT_WANTED)
            )
        )
        if find_weights(folder):
            break
    return folder


def _check_name(timm: Any, name: str, *, pretrained: bool) -> None:
    """Refuse what timm does not know, and where they are wanted what it has no trained weights of."""
    known: Sequence[str] = timm.list_models()
    architecture = name.partition(".")[0]
    if not timm.is_model(name):
        close = difflib.get_close_matches(architecture, known, n=3, cutoff=0.5)
        near = f"did you mean {listed(close, word='or')}?" if close else "timm.list_models() names them all"
        raise CheckpointError(f"timm:{name}: timm has no such model; {near}")
    listed_there = architecture in known  # names of old are known without being listed
    if not pretrained or not listed_there or timm.is_model_pretrained(name):
        return
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    instead = f"it has {listed(tagged)}" if tagged else "give a checkpoint file instead"
    raise CheckpointError(f"timm:{name}: timm has this model but no such trained weights; {instead}")


def not_fetched(label: str, error: Exception, otherwise: str) -> CheckpointError:
    """Say that a hub and its cache have not given something, and why."""
    return CheckpointError(
        f"{label}: can be loaded neither from the local cache nor over the network ({in_short(error)}); check the name "
        "and the network, set HF_HOME to a cache that holds it (HF_HUB_OFFLINE=1 then spares the network), or "
        f"{otherwise}"
    )


@contextmanager
def one_attempt() -> Iterator[None]:
    """Take the local cache alone where the hub does not answer within seconds, and spare the attempts of its client.

    The client asks again and again for each file, for a minute in all.
    """
    hub = hub_client()
    before = hub.constants.HF_HUB_OFFLINE
    hub.constants.HF_HUB_OFFLINE = before or not _answers(hub)
    try:
        yield
    finally:
        hub.constants.HF_HUB_OFFLINE = before


def _answers(hub: Any) -> bool:
    """Tell whether the hub answers at all, whatever it says."""
    try:
        hub.utils.get_session().head(hub.constants.ENDPOINT, timeout=LONGEST_WAIT)
    except Exception:  # the client and the network have no common class
        return False
    return True


@contextmanager
def weights_only() -> Iterator[None]:
    """Make every ``torch.load`` that timm calls refuse to execute a pickle."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})
