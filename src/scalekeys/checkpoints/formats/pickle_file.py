"""``.pkl``, ``.pdparams``: plain pickles of arrays or tensors, of all protocols, which are read and never executed."""

import pickle
import re
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.formats.pickled.arrays import Array
from scalekeys.checkpoints.formats.pickled.machine import Known
from scalekeys.checkpoints.formats.pickled.reading import read_one
from scalekeys.checkpoints.formats.pickled.stand_ins import Long
from scalekeys.checkpoints.formats.pickled.torch_tensors import Storage
from scalekeys.checkpoints.formats.pickled.tree import tree_of
from scalekeys.checkpoints.formats.stored.sources import MemoryBytes, whole
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_saved
from scalekeys.errors import CheckpointError

_OLD_STARTS = re.compile(
    rb"\((dp|lp|d|l|i[A-Za-z_])[0-9]*\n?|[}\]]q|\}\(|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|\(c[A-Za-z_][\w.]*\n|\}[Uq.]"
)
"""How pickles of protocols 0 and 1 start: with a dict, a list, or a name; they have no mark of their own."""
_OF_JOBLIB, _SEARCHED = b"NumpyArrayWrapper", 4096  # the class that stands before the first array


def matches(head: bytes) -> bool:
    """Tell whether a file that starts so can be a pickle.

    >>> matches(pickle.dumps({})), matches(pickle.dumps({}, protocol=0)), matches(b"<html>")
    (True, True, False)
    """
    if len(head) > 1 and head[0] == 0x80:
        return head[1] <= pickle.HIGHEST_PROTOCOL
    return _OLD_STARTS.match(head) is not None


def read_pickle(path: Path) -> Any:
    """Read a plain pickle; raises CheckpointError if it is damaged, or wants to run something."""
    label = str(path)
    if _OF_JOBLIB in bytes(whole(path).read(0, _SEARCHED)):
        raise CheckpointError(
            f"{label}: is a file of joblib, which puts arrays between the parts of a pickle; load it and save the "
            "weights with numpy.savez or safetensors"
        )
    return tree_of(read_one(whole(path), label, more=_nested(label)), label)


def _nested(label: str) -> Known:
    """Return what stands in for the function by which a plain pickle keeps a storage: as a file of ``torch.save``."""

    def load_from_bytes(content: Any = b"", *_: Any) -> Any:
        if isinstance(content, Long):
            content = content.as_bytes()
        saved = read_saved(MemoryBytes(content) if isinstance(content, bytes) else content, label)
        return saved if isinstance(saved, Storage | Array) else None

    return {"torch.storage._load_from_bytes": load_from_bytes}
