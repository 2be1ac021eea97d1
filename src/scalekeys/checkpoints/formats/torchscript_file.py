"""TorchScript archives: the parameters, buffers and constants of a scripted or traced network; its code is not read."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.formats.pickled.machine import PickleError
from scalekeys.checkpoints.formats.pickled.reading import refusal
from scalekeys.checkpoints.formats.pickled.stand_ins import StandIn
from scalekeys.checkpoints.formats.pickled.torch_tensors import first
from scalekeys.checkpoints.formats.stored.archive import open_archive
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.stored.tensors import Quantised
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_in_archive

_DEEPEST = 64
_MOST_OBJECTS = 1 << 17


def holds(names: Collection[str]) -> bool:
    """Tell whether a zip archive with records of these names is one of TorchScript.

    >>> holds(["net/data.pkl", "net/constants.pkl"]), holds(["net/data.pkl", "net/data/0"])
    (True, False)
    """
    return any(name.endswith("/constants.pkl") for name in names)


def read_torchscript(path: Path) -> dict[str, Lazy]:
    """Read a TorchScript archive by the names of the attributes that hold its tensors.

    Tensors that freezing has made constants of the code have lost their names and are called ``constants.0`` and so on.

    Raises CheckpointError if it is damaged.
    """
    label = str(path)
    archive = open_archive(whole(path), label)
    folder = archive.folder_of("constants.pkl") or ""
    found: dict[str, Lazy] = {}
    try:
        if f"{folder}data.pkl" in archive.records:
            saved = read_in_archive(archive, label, f"{folder}data.pkl", f"{folder}data/", _LISTS)
            found |= dict(_Walk().tensors(saved, ()))
        constants = read_in_archive(archive, label, f"{folder}constants.pkl", f"{folder}constants/", _LISTS)
        found |= dict(_Walk().tensors(constants, ("constants",)))
    except PickleError as error:
        raise refusal(label, error) from None
    return found


class _Walk:
    """Goes through the attributes of scripted objects, and counts them, as they may hold one another many times."""

    def __init__(self) -> None:
        self.objects = 0

    def tensors(self, value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Lazy]]:
        """Yield every tensor with its dotted name."""
        self.objects += 1
        if self.objects > _MOST_OBJECTS or len(path) > _DEEPEST:
            raise PickleError("objects that hold one another without end")
        if isinstance(value, Lazy):
            yield ".".join(_named(path, value)), value
        elif isinstance(value, StandIn):
            yield from self.tensors(value.attributes or value.state, path)
        elif isinstance(value, dict):
            for name, one in value.items():
                yield from self.tensors(one, (*path, str(name)))
        elif isinstance(value, list | tuple):
            for number, one in enumerate(value):
                if isinstance(one, Lazy | StandIn | dict | list | tuple):
                    yield from self.tensors(one, (*path, str(number)))


def _named(path: tuple[str, ...], tensor: Lazy) -> tuple[str, ...]:
    """Name the weight of a quantised layer as if it were a plain one, instead of a part of its packed state.

    The state of a linear layer has ``_packed_params``; that of a convolution is a tuple with the weight at a number.
    """
    if not isinstance(tensor, Quantised) or path[0] == "constants":
        return path
    packed = path.index("_packed_params") if "_packed_params" in path else len(path) - path[-1].isdecimal()
    return (*path[:packed], "weight") if packed < len(path) else path


_LISTS: dict[str, Callable[..., Any]] = {
    f"torch.jit._pickle.{name}": first
    for name in ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")
}
