"""What is behind a path that a user names, told before anything is opened.

It is read without PyTorch, so that the command line refuses at once what is not there.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from scalekeys.checkpoints.formats.content import HEAD, foreign_kind
from scalekeys.checkpoints.sources.folder_names import check_folder
from scalekeys.errors import CheckpointError, ModelError
from scalekeys.files import expanded

ADDRESSES = ("http", "https")
"""What the address of a file on a web server begins with."""
HUBS = ("timm", "hf", "builtin")
"""What the names of networks begin with that are no files."""
NETWORKS = ("builtin:denoiser", "builtin:cifar-convnext")
"""The networks that come with the package."""

_WILDCARDS = frozenset("*?[")

FORMS = (
    f"give timm:NAME, hf:NAME, {', '.join(NETWORKS)}, or FILE.py:FUNCTION for a function that returns a network, and "
    "weights as --checkpoint"
)
"""How a network that runs is named."""
PREFIXES = "timm:NAME, hf:NAME or builtin:NAME"
"""How weights are named that are no file."""


def scheme_of(source: str) -> str | None:
    """Return what stands before the colon of a name that is no path.

    >>> scheme_of("timm:convnext_atto"), scheme_of("model.pth")
    ('timm', None)
    """
    scheme, colon, _ = source.partition(":")
    return scheme if colon and scheme in (*HUBS, *ADDRESSES) else None


def code_of(source: str) -> tuple[Path, str] | None:
    """Return the file and the function of a name of the form FILE.py:FUNCTION.

    >>> code_of("nets.py:build"), code_of("model.pth")
    ((PosixPath('nets.py'), 'build'), None)
    """
    file, _, function = source.rpartition(":")
    return (expanded(file), function) if file.endswith(".py") and function else None


def has_wildcard(text: str) -> bool:
    """Tell whether a name is a pattern.

    >>> has_wildcard("timm:convnext*"), has_wildcard("timm:convnext_tiny.fb_in1k")
    (True, False)
    """
    return not _WILDCARDS.isdisjoint(text)


def check_source(source: str, *, takes_code: bool = False) -> None:
    """Refuse a source of weights that is not there.

    `takes_code`: whether a function that returns a network, FILE.py:FUNCTION, is taken too.
    Raises CheckpointError if it is a path at which there is nothing, or a folder without weights; ModelError if it is a
    function of a file that is missing.
    """
    if scheme_of(source) is not None or not source.strip():
        return
    if takes_code and code_of(source) is not None:
        check_network(source)
        return
    path = existing(Path(source))
    if path.is_dir():
        check_folder(path)


def check_sources(sources: Iterable[str]) -> None:
    """Refuse sources of which none is there: what is missing beside others is a failure of its own.

    Raises the error of the first of them.
    """
    faults = []
    for source in sources:
        if has_wildcard(source):
            return
        try:
            check_source(source)
        except CheckpointError as error:
            faults.append(error)
        else:
            return
    raise faults[0]


def check_network(network: str) -> None:
    """Refuse the name of a network that runs where there is none.

    Raises ModelError if the name has none of the forms of these, or is a function of a file that is missing.
    """
    code = code_of(network)
    if code is not None and not code[0].is_file():
        raise ModelError(f"{code[0]}: no such file; {FORMS}")
    if code is None and scheme_of(network) not in HUBS and not os.path.lexists(network):
        raise ModelError(f"{network}: names no network; {FORMS}")


def check_checkpoint(checkpoint: str, network: str) -> None:
    """Refuse weights for a network that are not there.

    A function that returns a network may load weights in a way of its own, so that anything is taken for it.
    Raises CheckpointError if they are at a path with nothing, or in a folder without weights.
    """
    if code_of(network) is None:
        check_source(checkpoint)


def existing(path: Path) -> Path:
    """Return a path with the home folder of the user written out.

    Raises CheckpointError if there is nothing at the path, it cannot be looked for, or it is Python code.
    """
    try:
        path = path.expanduser()
        path.stat()
        is_code = path.suffix == ".py" and path.is_file() and not _may_hold_weights(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _nothing_at(path) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if is_code:
        raise CheckpointError(
            f"{path}: is Python code and holds no weights; commands that run a network take {path}:FUNCTION, for a "
            "function that returns the network"
        )
    return path


def _may_hold_weights(path: Path) -> bool:
    """Tell whether a file begins like none of the kinds that hold no weights, such as text."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return bool(head) and not foreign_kind(head)


def _nothing_at(path: Path) -> CheckpointError:
    scheme, colon, _ = str(path).partition(":")
    if str(path) == "-":
        return CheckpointError("-: the standard input is not read; give the path of a file")
    if path.is_symlink():
        return CheckpointError(f"{path}: is a link to {path.readlink()}, where there is nothing; fetch that file")
    if code_of(str(path)) is not None:
        return CheckpointError(
            f"{path}: names a function, where weights are read; give a file of weights, or {PREFIXES}"
        )
    if scheme.lower() in (*ADDRESSES, "ftp", "s3", "gs"):
        return CheckpointError(f"{path}: only addresses of the form https://SERVER/PATH are read; download the file")
    if colon and scheme.isidentifier() and len(scheme) > 1:
        return CheckpointError(f"{path}: {scheme + ':'!r} is no known prefix and no such file exists; give {PREFIXES}")
    return CheckpointError(f"{path}: no such file or folder; for models that are not files give {PREFIXES}")
