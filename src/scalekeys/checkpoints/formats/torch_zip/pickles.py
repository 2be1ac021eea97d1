"""Pickles without their code: what one would run, and harmless stand-ins for what public checkpoints carry.

A pickle is a program. torch runs it in an interpreter that calls nothing but the constructors of tensors
(``weights_only=True``) and refuses the rest by name. Training code puts arguments, metrics and paths next to the
weights, so that many an honest checkpoint would be refused for an ``argparse.Namespace``. Such names are mapped to the
stand-ins below: the named class or function is not called, not even imported, and what it would have made is lost,
which is no loss as only tensors are read. This is why the list needs no trust in the things it names, and why it may
hold classes whose own constructors are not above suspicion, as ``numpy.dtype``.
"""

import pickletools
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from typing import Any


class NotATensor:
    """Stands in for an object that is no tensor: takes any arguments and any state, and keeps none."""

    def __init__(self, *_args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        pass


class PlainDict:
    """Stands in for a class of dicts: makes a plain one, so that tensors inside are found."""

    def __new__(cls, *_args: Any) -> Any:
        """Return a new dict and forget how the class was to be made."""
        return {}


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_DROPPED = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "slice", "str", "tuple")),
    *(f"datetime.{name}" for name in ("date", "datetime", "timedelta")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath")),
    *(f"{module}.{name}" for module in _NUMPY for name in ("_reconstruct", "scalar")),
    *(f"numpy.{name}" for name in ("bool_", "dtype", "float32", "float64", "int32", "int64", "ndarray")),
)
_DICTS = (
    "collections.defaultdict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
STAND_INS: tuple[tuple[type, str], ...] = (
    *((NotATensor, name) for name in _DROPPED),
    *((PlainDict, name) for name in _DICTS),
)
"""What to give ``torch.serialization.safe_globals``: a stand-in and the name it answers to."""

_STAND_IN_OF = {name: stand_in for stand_in, name in STAND_INS}
_HEADER_PICKLES = 3


def stand_in(name: str) -> type:
    """Return what stands in for a class or function by its dotted name, whatever it is."""
    return _STAND_IN_OF.get(name, NotATensor)


def names_in_pickles(stream: BufferedReader | BytesIO) -> Iterator[str]:
    """Yield the dotted names that the pickles at the start of `stream` would import; nothing is executed.

    Examples
    --------
    >>> import io, os, pickle
    >>> list(names_in_pickles(io.BytesIO(pickle.dumps({"run": os.system}))))
    ['posix.system']
    """
    for _ in range(_HEADER_PICKLES + 1):
        try:
            yield from _names_in_pickle(stream)
        except Exception:  # a damaged pickle ends the list; what it names before is what counts
            return


def _names_in_pickle(stream: BufferedReader | BytesIO) -> Iterator[str]:
    """Follow the strings on the stack and in the memo, as STACK_GLOBAL takes its two names from there."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    argument: Any
    for opcode, argument, _position in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = strings[-1] if strings else ""
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(argument, ""))
        elif isinstance(argument, str):
            strings.append(argument)
