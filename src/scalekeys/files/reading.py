"""Reading regular files: a pipe, a socket or a device is refused and never waited for."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from scalekeys.errors import ScaleKeysError

_FLAGS = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading in binary mode; this never waits.

    Returns
    -------
    BufferedReader
        To be closed by the caller.

    Raises
    ------
    OSError
        If there is no such file, it is not a regular file, or it cannot be opened; `strerror` says why. A name that no
        file can have is such an error too.

    Examples
    --------
    >>> import tempfile
    >>> pipe = Path(tempfile.mkdtemp()) / "pipe"
    >>> os.mkfifo(pipe)
    >>> open_regular(pipe)
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] it is not a regular file: ...
    """
    try:
        _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116 (opening a device can have effects)
        handle = os.open(path, _FLAGS)
    except ValueError:
        raise OSError(errno.EINVAL, "no file has a name with a null character", str(path)) from None
    try:
        _check_regular(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


@contextmanager
def reading_from(path: str | Path, kind: type[ScaleKeysError]) -> Iterator[None]:
    """Turn the error of a block that reads a path into one sentence.

    Raises
    ------
    ScaleKeysError
        Of the kind, if the block raises OSError.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror or error})") from error


def read_bytes(path: str | Path, kind: type[ScaleKeysError], *, most: int | None = None) -> bytes:
    """Read a whole regular file.

    Parameters
    ----------
    path : str or Path
    kind : type
        The class of errors.
    most : int, optional
        The most bytes that such a file has.

    Raises
    ------
    ScaleKeysError
        Of the kind, if it cannot be read or is larger.

    Examples
    --------
    >>> from scalekeys.errors import DataError
    >>> read_bytes("nowhere", DataError)
    Traceback (most recent call last):
        ...
    scalekeys.errors.DataError: nowhere: cannot be read (No such file or directory)
    """
    with reading_from(path, kind), open_regular(path) as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise kind(f"{path}: has more than {most} bytes, which is too much for such a file; check what it is")
    return content


def read_text(path: str | Path, kind: type[ScaleKeysError], *, encoding: str = "utf-8", most: int | None = None) -> str:
    """Read a regular file of text; see :func:`read_bytes`.

    Raises
    ------
    ScaleKeysError
        Of the kind, if it cannot be read, is larger, or is not text.
    """
    content = read_bytes(path, kind, most=most)
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise kind(f"{path}: is not a text file (byte {error.start} is not UTF-8); save it as UTF-8") from None


def parse_json(text: str | bytes) -> Any:
    """Read JSON of any origin; numbers are finite.

    Raises
    ------
    ValueError
        If the text is not JSON, is nested too deeply, or has a number that is not finite.

    Examples
    --------
    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
        ...
    ValueError: it is nested too deeply
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def exists(path: str | Path) -> bool:
    """Tell whether a path exists; False also for a name that the system refuses."""
    return os.path.exists(path)  # noqa: PTH110 (that of Path raises for names that are too long)


def is_file(path: str | Path) -> bool:
    """Tell whether a path is a regular file; False also for a name that the system refuses."""
    return os.path.isfile(path)  # noqa: PTH113 (as above)


def is_folder(path: str | Path) -> bool:
    """Tell whether a path is a folder; False also for a name that the system refuses."""
    return os.path.isdir(path)  # noqa: PTH112 (as above)


def is_plain_name(name: str) -> bool:
    r"""Tell whether a name in a file of any origin can be that of a file beside it, and of nothing elsewhere.

    Examples
    --------
    >>> is_plain_name("model-1.bin"), is_plain_name("../model-1.bin"), is_plain_name("C:model.bin"), is_plain_name("..")
    (True, False, False, False)
    """
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def lies_beside(file: Path, other: Path) -> bool:
    """Tell whether a file lies in the folder of another, or below it, wherever links lead.

    The folder that a linked `other` truly lies in counts too, as caches link both files into a folder of snapshots.

    Raises
    ------
    OSError, RuntimeError
        If a name is too long, or links lead in a circle.

    Examples
    --------
    >>> lies_beside(Path("net/parts/a.bin"), Path("net/net.json")), lies_beside(Path("a.bin"), Path("net/net.json"))
    (True, False)
    """
    homes = (other.parent.resolve(), other.resolve().parent)
    return any(file.resolve().is_relative_to(home) for home in homes)


def expanded(path: str | Path) -> Path:
    """Put the home folder of a user in the place of ``~``, where there is such a user.

    Examples
    --------
    >>> expanded("~nobody-has-this-name/a.pth")
    PosixPath('~nobody-has-this-name/a.pth')
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _check_regular(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < float("inf") else _not_finite(text)


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")
