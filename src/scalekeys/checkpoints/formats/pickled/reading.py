"""Pickles from bytes to nested dicts of tensors without values."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scalekeys.checkpoints.formats.pickled.arrays import ARRAYS
from scalekeys.checkpoints.formats.pickled.machine import Known, Machine, PickleError, UnsafePickleError
from scalekeys.checkpoints.formats.pickled.opcodes import read_pickle
from scalekeys.checkpoints.formats.pickled.torch_tensors import TENSORS, VALUES
from scalekeys.checkpoints.formats.stored.archive import damaged
from scalekeys.checkpoints.formats.stored.sources import Bytes, buffer_of
from scalekeys.errors import CheckpointError

KNOWN: Known = {**ARRAYS, **TENSORS, **VALUES}
"""What stands in for the classes and functions whose results are read; everything else is passed over."""

WAY_OUT = (
    "where you trust the file, load it yourself and save its weights with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)


def no_persistent(_identity: Any) -> Any:
    """Refuse an identity where nothing is kept outside a pickle."""
    raise PickleError("it names a storage, and there is none")


@contextmanager
def machine_on(
    content: Bytes, label: str, persistent: Callable[[Any], Any] = no_persistent, more: Known | None = None
) -> Iterator[Machine]:
    """Give a machine for pickles in some bytes.

    Raises CheckpointError if they are damaged, or name what can only be meant to run.
    """
    try:
        with buffer_of(content) as buffer:
            yield Machine(buffer, content, {**KNOWN, **(more or {})}, persistent)
    except ValueError as error:
        raise refusal(label, error) from None


def read_one(
    content: Bytes, label: str, persistent: Callable[[Any], Any] = no_persistent, more: Known | None = None
) -> Any:
    """Read bytes that are one pickle; see :func:`machine_on`."""
    with machine_on(content, label, persistent, more) as machine:
        return read_pickle(machine)


def refusal(label: str, error: ValueError) -> CheckpointError:
    """Return the error for a pickle that is not read."""
    if isinstance(error, UnsafePickleError):
        name = error.name.dotted
        return CheckpointError(f"{label}: wants to run {name!r}; scalekeys never executes a pickle: {WAY_OUT}")
    return damaged(label, error)
