"""The unit of work: one checkpoint, from its reference to a file of rows. It needs nothing but its arguments."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from scalekeys.atlas.layout import DEPTHWISE, Layout
from scalekeys.atlas.references import Reference
from scalekeys.atlas.rows import identify, rows
from scalekeys.atlas.schema import SCHEMA_VERSION, WRITING, stamp_of, stamped
from scalekeys.checkpoints import Checkpoint, open_source
from scalekeys.errors import CheckpointError, OutputError, ScaleKeysError, one_line
from scalekeys.files import new_file
from scalekeys.filters import LeftOut
from scalekeys.optional import first_line
from scalekeys.threads import one_thread


@dataclass(frozen=True)
class Task:
    """A checkpoint to be analysed."""

    reference: Reference
    signature: str
    """That of the source before it is read."""
    atlas: str
    """The folder of the atlas, as an absolute path."""
    seed: int
    """Of white and matched noise."""
    kinds: str = DEPTHWISE


@dataclass(frozen=True)
class Read:
    """What is known of a checkpoint whose rows are in the atlas."""

    content: str
    model: str
    layers: int
    filters: int
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why a checkpoint could not be analysed: a class of errors, and a sentence."""

    error: str
    reason: str


@dataclass(frozen=True)
class Unwritable:
    """Why no rows can be written, which is no fault of the checkpoint and would be so for all others."""

    reason: str


Outcome = Read | Failed | Unwritable


def analyse(task: Task) -> Outcome:
    """Analyse one checkpoint on one processor and write its rows, if they are not there yet.

    Never raises: what goes wrong is in the outcome.
    """
    try:
        _check_name(task.reference)
        with one_thread():  # and so results do not depend on how many processors there are
            asked = {} if task.kinds == DEPTHWISE else {"kinds": task.kinds}
            return _analyse(task, open_source(task.reference.location, **asked))
    except OutputError as error:
        return Unwritable(str(error))
    except ScaleKeysError as error:
        return _failed(task.reference, error, "")
    except Exception as error:  # whatever a strange file can bring about must not stop the others
        return _failed(task.reference, error, "cannot be analysed: ")


def _check_name(reference: Reference) -> None:
    """Refuse a name that no table can hold."""
    if not reference.source.isprintable():
        raise CheckpointError("a name must consist of printable characters in UTF-8; rename it")


def _failed(reference: Reference, error: Exception, what: str) -> Failed:
    """Return a failure of which the reason is one line that begins with the source."""
    reason = first_line(error).replace(reference.location, reference.source).removeprefix(f"{reference.source}: ")
    return Failed(type(error).__name__, one_line(f"{reference.source}: {what}{reason}"))


def holds(path: Path) -> bool:
    """Tell whether a file has rows of the current form."""
    stamp = stamp_of(path)
    return stamp is not None and stamp[0] == SCHEMA_VERSION


def _analyse(task: Task, checkpoint: Checkpoint) -> Read:
    layout = Layout(Path(task.atlas))
    if not layout.filters.is_dir():
        raise OutputError(f"{layout.folder}: is not seen by a worker; give a folder that all machines share")
    content, layers, filters = identify(checkpoint)
    path = layout.rows_of(content)
    if not holds(path):
        with suppress(FileNotFoundError):
            (layout.unlisted / path.name).replace(path)
    if not holds(path):
        _write(checkpoint, path, task, content)
    return Read(content, checkpoint.model, layers, filters, checkpoint.notes, checkpoint.left_out)


def _write(checkpoint: Checkpoint, path: Path, task: Task, content: str) -> None:
    source = task.reference.source
    with new_file(path, force=True) as temporary, pq.ParquetWriter(temporary, stamped(source), **WRITING) as writer:
        for table in rows(checkpoint, source=source, content=content, seed=task.seed):
            writer.write_table(table)
