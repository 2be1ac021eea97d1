"""Writing files so that a reader never meets half of one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalekeys.errors import OutputError


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block ends well.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with new_file(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file to write")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; give --force to replace it, or another name")
    with _readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and move what it holds to `path` when the block ends well.

    With `force`, files of the same names in an existing folder are replaced and its other files stay.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, is a file, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "out"
    >>> with new_folder(target) as temporary:
    ...     _ = (temporary / "a.txt").write_text("whole")
    >>> [file.name for file in target.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    check_new_folder(path, force=force)
    with _readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if not path.exists():
                temporary.rename(path)
                return
            for file in sorted(temporary.iterdir()):
                file.replace(path / file.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(path: Path, *, force: bool = False) -> None:
    """Refuse, before any work is done, a folder that :func:`new_folder` would refuse.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, or is a file.
    """
    if path.is_dir():
        if not force:
            raise OutputError(f"{path}: this output folder exists already; give --force to replace, or another name")
    elif path.exists():
        raise OutputError(f"{path}: is a file; name a folder to write into")


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
