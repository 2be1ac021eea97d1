"""A file beside an output that keeps the pieces of long work until the output is written."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scalekeys.errors import counted
from scalekeys.files import new_file, remove_file
from scalekeys.networks.changing.keeping import Pieces

_SUFFIX = ".work"


class WorkFile:
    """The pieces of one work on some inputs with some options.

    Parameters
    ----------
    output : Path
        The file stands beside it, and is called like it with ``.work`` behind.
    options : mapping
        What the pieces depend on, in words or numbers, by the names that a user knows.

    Attributes
    ----------
    notes : tuple of str
        Whether work goes on or begins anew, in a sentence; empty if there was no file.
    """

    def __init__(self, output: Path, options: Mapping[str, Any]) -> None:
        self.path = output.with_name(output.name + _SUFFIX)
        self._options = {name: str(value) for name, value in options.items()}
        self._pieces: dict[str, Mapping[str, Tensor]] = {}
        self.notes: tuple[str, ...] = ()
        if self.path.is_file():
            self.notes = (self._read(),)

    def keep(self, name: str, compute: Callable[[], Pieces]) -> Pieces:
        """Return a piece that is kept, or compute it and keep it."""
        if name not in self._pieces:
            self._pieces[name] = {key: value.detach().cpu().contiguous() for key, value in compute().items()}
            self._write()
        return self._pieces[name]

    def clear(self) -> None:
        """Remove the file."""
        remove_file(self.path)

    def _read(self) -> str:
        try:
            with safe_open(self.path, "pt") as file:
                known = json.loads((file.metadata() or {})["work"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            before = known["options"]
            changed = [name for name in {**before, **self._options} if before.get(name) != self._options.get(name)]
            places = known["pieces"]
            pieces: dict[str, Mapping[str, Tensor]] = {
                name: {key: tensors[place] for key, place in piece.items()} for name, piece in places.items()
            }
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
            return f"{self.path}: is damaged, or no work of an earlier run; the work begins anew"
        if changed:
            return f"{self.path}: was begun with another value of {', '.join(changed)}; the work begins anew"
        self._pieces = pieces
        return f"{self.path}: goes on with {counted(len(pieces), 'finished part')} of an earlier run"

    def _write(self) -> None:
        places = {
            name: {key: f"{number}.{key}" for key in piece} for number, (name, piece) in enumerate(self._pieces.items())
        }
        tensors = {places[name][key]: value for name, piece in self._pieces.items() for key, value in piece.items()}
        about = {"work": json.dumps({"options": self._options, "pieces": places})}
        with new_file(self.path, force=True) as temporary:
            save_file({key: value.clone() for key, value in tensors.items()}, temporary, about)


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a digest of the values of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{values.dtype}{tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
