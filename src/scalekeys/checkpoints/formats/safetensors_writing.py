"""Safetensors files with other filters: a copy in which the bytes of some weights are overwritten in place."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from scalekeys.checkpoints.core.changes import Change, overwrite_in_file

_LENGTH = 8  # bytes of the length of the header, which the header follows and then the values


def write_safetensors(path: Path, changes: Sequence[Change], target: Path) -> tuple[str, ...]:
    """Copy a safetensors file that has been opened, header and all, with changes; there is nothing to say about it."""
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
        for change in changes:
            start, _ = header[change.key]["data_offsets"]
            overwrite_in_file(file, change, _LENGTH + length + start)
    return ()
