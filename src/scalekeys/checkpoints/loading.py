"""Weights from a file into a network, all of them and no others."""

from collections.abc import Mapping

from torch import nn

from scalekeys.checkpoints.core.inventory import TensorInfo, info_of, listed
from scalekeys.checkpoints.core.state_dict import wrapper_prefix
from scalekeys.checkpoints.sources.module import unwrapped
from scalekeys.checkpoints.sources.source import Source, open_source
from scalekeys.errors import CheckpointError

_COUNTER = ".num_batches_tracked"


def load_into(module: nn.Module, source: Source, *, weights: str | None = None) -> tuple[str, ...]:
    """Load weights into a network, which must be exactly those that it has.

    Parameters
    ----------
    module : nn.Module
        Changed in place, unless an error is raised. Data-parallel and compiled wrappers are looked through.
    source, weights
        As for :func:`scalekeys.extract`: a file or folder, and which of several nested sets of weights to take.
        Prefixes that wrappers have put before all names are taken off.

    Returns
    -------
    tuple of str
        What was decided on the way, in sentences a user should see.

    Raises
    ------
    CheckpointError
        If the source cannot be read, or names or shapes differ. Only counters of batches may be missing.

    Examples
    --------
    >>> import torch
    >>> network = nn.Linear(2, 1)
    >>> load_into(network, {"state_dict": {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}})
    ("read 'state_dict'",)
    >>> network.weight
    Parameter containing:
    tensor([[1., 1.]], requires_grad=True)
    """
    opened = open_source(source, weights=weights)
    network = unwrapped(module)
    state = network.state_dict()
    prefix = wrapper_prefix(key for key, info in opened.tensors.items() if info.shape)
    keys = {key.removeprefix(prefix): key for key in opened.tensors}
    wanted = {name: info_of(tensor) for name, tensor in state.items() if name in keys or not name.endswith(_COUNTER)}
    fault = _difference(wanted, {name: opened.tensors[key] for name, key in keys.items()})
    if fault:
        raise CheckpointError(
            f"{opened.label}: its weights are not those of the network {type(network).__name__} ({fault}); give the "
            "checkpoint of this network"
        )
    network.load_state_dict(state | {name: opened.load(keys[name]) for name in wanted})
    return opened.notes


def _difference(network: Mapping[str, TensorInfo], file: Mapping[str, TensorInfo]) -> str:
    """Say in one clause how the tensors of a network and those of a file differ; empty if they do not."""
    missing = [repr(name) for name in network if name not in file]
    more = [repr(name) for name in file if name not in network]
    faults = [f"it lacks {listed(missing, limit=3)}"] if missing else []
    faults += [f"it has {listed(more, limit=3)}, which the network does not have"] if more else []
    for name, info in network.items():
        if not faults and info.shape != file[name].shape:
            faults.append(f"{name!r} has shape {file[name].shape} there and {info.shape} in the network")
    return "; ".join(faults)
