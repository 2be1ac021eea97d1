"""Weights from a file into a network, all of them and no others."""

from collections.abc import Collection, Iterable, Mapping

from torch import nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.inventory import TensorInfo, info_of
from scalekeys.checkpoints.core.naming import without_wrappers
from scalekeys.checkpoints.sources.module import unwrapped
from scalekeys.checkpoints.sources.source import Source, open_source
from scalekeys.errors import CheckpointError, listed

_COUNTER = ".num_batches_tracked"
_OF_AVERAGES = frozenset({"n_averaged", "num_updates", "initted", "step", "steps", "decay"})
"""Single numbers that classes of averaged weights save beside these."""


def load_into(module: nn.Module, source: Source, *, weights: str | None = None) -> tuple[str, ...]:
    """Load weights into a network, which must be exactly those that it has.

    Parameters
    ----------
    module : nn.Module
        Changed in place, unless an error is raised. Data-parallel and compiled wrappers are looked through.
    source, weights
        As for :func:`scalekeys.extract`: a file or folder, and which of several nested sets of weights to take.
        What wrappers have put into the names is taken out, and a prefix that all names share, as ``model.``, is taken
        off where the network does not have it.

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
    ("weights are read from the entry 'state_dict'",)
    >>> network.weight
    Parameter containing:
    tensor([[1., 1.]], requires_grad=True)
    """
    opened = open_source(source, weights=weights)
    network = unwrapped(module)
    state = network.state_dict()
    keys = keys_by_name(opened, state)
    wanted = {name: info_of(tensor) for name, tensor in state.items() if name in keys or not name.endswith(_COUNTER)}
    fault = _difference(wanted, {name: opened.tensors[key] for name, key in keys.items()})
    if fault:
        raise CheckpointError(
            f"{opened.label}: its weights are not those of the network {type(network).__name__} ({fault}); give the "
            "checkpoint of this network"
        )
    network.load_state_dict(state | {name: opened.load(keys[name]) for name in wanted})
    return opened.notes


def keys_by_name(opened: Checkpoint, names: Collection[str]) -> dict[str, str]:
    """Return the keys of a source by the names that a network has for them.

    `names`: of the tensors of the network.
    Returns all keys of the network that was chosen: those that the network lacks stand under names of their own.

    >>> import torch
    >>> opened = open_source({"model.module.weight": torch.ones(2, 3), "model.bias": torch.ones(2)})
    >>> keys_by_name(opened, ["weight", "bias"])
    {'weight': 'model.module.weight', 'bias': 'model.bias'}
    """
    chosen = [key for key in opened.tensors if key.startswith(opened.prefix)]
    own = {name: key for key, name in without_wrappers(chosen).items()}
    for name in _OF_AVERAGES.intersection(own).difference(names):
        if not opened.tensors[own[name]].shape:
            del own[name]
    theirs = {short: name for name, short in without_wrappers(names).items()}
    shared, best = _shared_prefix(name for name, key in own.items() if opened.tensors[key].shape), ""
    for cut in range(len(shared) + 1):
        prefix = "".join(f"{part}." for part in shared[:cut])
        if _matches(own, prefix, theirs) > _matches(own, best, theirs):
            best = prefix
    short = {name.removeprefix(best): key for name, key in own.items()}
    return {theirs.get(name, name): key for name, key in short.items()}


def _shared_prefix(names: Iterable[str]) -> list[str]:
    """Return the parts at the start of names that all of them share, without their last ones."""
    shared = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _matches(own: Collection[str], prefix: str, theirs: Collection[str]) -> int:
    return sum(name.startswith(prefix) and name.removeprefix(prefix) in theirs for name in own)


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
