"""Writing files so that a reader never meets half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import filelock

from scalekeys.errors import OutputError, ScaleKeysError
from scalekeys.files.locks import alone_in, is_locked, lock
from scalekeys.files.reading import expanded

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SUFFIX = ".scalekeys.tmp"
_PART = 50  # characters of a name that a temporary name repeats, since the latter must not become too long


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block ends well.

    If the block raises, nothing is left behind and an existing file stays as it was.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, or cannot be written.

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
    check_new_file(path, force=force)
    with _staging(path, folder=False) as temporary:
        yield temporary
        with writing_to(path), _order_in(path.parent):
            check_new_file(path, force=force)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)


@contextmanager
def new_files(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a path of the same name in a temporary folder, and move what is in it to `path` and beside it at the end.

    For a file that refers to others by their names. These are moved first, and are refused like the file itself where
    they exist. If the block raises, nothing is left behind and existing files stay as they were.

    Raises
    ------
    OutputError
        If one of the files exists and `force` is not given, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with new_files(target) as temporary:
    ...     _ = temporary.write_text("whole")
    ...     _ = temporary.with_name("a.data").write_text("more")
    >>> sorted(file.name for file in target.parent.iterdir())
    ['a.data', 'a.txt']
    """
    path = Path(path)
    check_new_file(path, force=force)
    with _staging(path, folder=True) as folder:
        yield folder / path.name
        with writing_to(path), _order_in(path.parent):
            moves = [(file, path.parent / file.name) for file in sorted(folder.iterdir())]
            for _, target in moves:
                check_new_file(target, force=force)
            for file, target in sorted(moves, key=lambda move: move[1] == path):
                file.chmod(0o666 & ~_umask())
                file.replace(target)


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and move what it holds to `path` when the block ends well.

    With `force`, files of the same names in an existing folder are replaced and its other files stay. If the block
    raises, nothing is left behind and an existing folder stays as it was.

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
    with _staging(path, folder=True) as temporary:
        yield temporary
        with writing_to(path), _order_in(path.parent):
            check_new_folder(path, force=force)
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                _merge(temporary, path)
            else:
                temporary.rename(path)


@contextmanager
def held_folder(path: Path, busy: ScaleKeysError) -> Iterator[None]:
    """Hold a folder, made if need be, while a block runs; whoever would hold it too is refused.

    Raises
    ------
    ScaleKeysError
        `busy`, if somebody holds it.
    OutputError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> with held_folder(folder, ScaleKeysError("wait")):
    ...     folder.is_dir()
    True
    """
    check_new_folder(path, force=True)
    with writing_to(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            held = filelock.FileLock(path / ".lock", blocking=False).acquire()
        except filelock.Timeout:
            raise busy from None
    with held:
        yield


def check_new_folder(path: Path, *, force: bool = False) -> None:
    """Refuse, before any work is done, a folder that :func:`new_folder` would refuse.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, is a file, or has a name that is not UTF-8.
    """
    _check_name(path)
    with writing_to(path):
        if path.is_dir() and not force:
            raise OutputError(f"{path}: this output folder exists already; give --force to replace, or another name")
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file; name a folder to write into")


def check_new_file(path: Path, *, force: bool = False) -> None:
    """Refuse, before any work is done, a file that :func:`new_file` would refuse.

    Raises
    ------
    OutputError
        If `path` exists and `force` is not given, is not a regular file, or has a name that is not UTF-8.
    """
    _check_name(path)
    with writing_to(path):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file to write")
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is not a regular file; name a file to write")
        if path.exists() and not force:
            raise OutputError(f"{path}: exists already; give --force to replace it, or another name")


def check_no_source(path: Path, sources: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, also with `force`.

    `sources`: files, folders, and names that are neither.

    Raises
    ------
    OutputError
        If `path` is one of these files, under this name or another, lies in one of these folders, or is a shard that
        one of these files lists.
    """
    for source in map(expanded, sources):
        with suppress(OSError, ValueError):  # there is no such file, or can be none
            if path.samefile(source):
                raise OutputError(f"{path}: is the source itself, which is never changed; name another output")
            if _is_part(path, source):
                raise OutputError(f"{path}: is a part of the source, which is never changed; name another output")


def _is_part(path: Path, source: Path) -> bool:
    """Tell whether a file lies in a folder, or is a shard that an index lists."""
    if source.is_dir():
        return path.resolve().is_relative_to(source.resolve())
    is_listed = source.name.endswith(".index.json") and path.name in source.read_text()
    return is_listed and path.parent.samefile(source.parent)


def _check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8, which the writers of tables and of weights cannot open."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise OutputError(f"{path}: is a name that is not UTF-8; name another output") from None


def clear_leftovers(path: Path) -> None:
    """Remove the temporary files and folders that killed processes left in the folder of `path`.

    Those of processes that are at work stay.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = target.with_name(".a.txt.killed.scalekeys.tmp").write_text("ha")
    >>> clear_leftovers(target)
    >>> list(target.parent.iterdir())
    []
    """
    with _order_in(Path(path).parent):
        _clear_dead(Path(path).parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises
    ------
    OutputError
        If that is not possible.
    """
    with writing_to(path):
        path.unlink(missing_ok=True)


@contextmanager
def _staging(path: Path, *, folder: bool) -> Iterator[Path]:
    """Give a temporary file or folder beside `path`, and remove it, and after an error also the parents made for it."""
    with writing_to(path):
        parents = _missing_parents(path)
    try:
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary, handle = _make_temporary(path, folder=folder)
        try:
            with writing_to(path, only_in=temporary):
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True) if folder else temporary.unlink(missing_ok=True)
            os.close(handle)
    except BaseException:
        for parent in parents:
            with suppress(OSError):
                parent.rmdir()
        raise


def _missing_parents(path: Path) -> list[Path]:
    """Return the folders above `path` that do not exist, nearest first."""
    missing = []
    for parent in path.parents:
        if parent.is_dir():
            break
        if parent.exists():
            raise OutputError(f"{path}: cannot be written, because {parent} is not a folder")
        missing.append(parent)
    return missing


def _make_temporary(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Make a temporary file or folder, and return it with a handle that keeps it locked while it is in use.

    What is moved to its place in several steps is written by one process at a time.
    """
    prefix = f".{path.name[:_PART]}."
    with _order_in(path.parent):
        at_work = _clear_dead(path.parent)
        if folder and any(entry.name.startswith(prefix) for entry in at_work):
            raise OutputError(f"{path}: is being written by another process; wait until it is done, or name another")
        if folder:
            temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=path.parent))
            handle = os.open(temporary, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=_SUFFIX, dir=path.parent)
            temporary = Path(name)
        lock(handle)
    return temporary, handle


def _order_in(folder: Path) -> AbstractContextManager[None]:
    """Wait for other processes in such a block; a temporary folder is locked already, and has one writer."""
    return nullcontext() if folder.name.endswith(_SUFFIX) else alone_in(folder)


def _clear_dead(folder: Path) -> list[Path]:
    """Remove the temporary files and folders of processes that have ended, and return those of others.

    Where the file system does not tell whether a process is at work, everything stays.
    """
    at_work = []
    for entry in folder.glob(f".*{_SUFFIX}"):
        held = is_locked(entry)
        if held is None:
            continue
        if held:
            at_work.append(entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()
    return at_work


def _merge(source: Path, target: Path) -> None:
    """Move what `source` holds into the existing folder `target`; where that is impossible, move nothing."""
    moves = [(entry, target / entry.relative_to(source)) for entry in sorted(source.rglob("*"))]
    for entry, destination in moves:
        if destination.exists() and destination.is_dir() != entry.is_dir():
            kinds = ("folder", "file") if destination.is_dir() else ("file", "folder")
            raise OutputError(f"{destination}: is a {kinds[0]}, where a {kinds[1]} is to be written; remove it")
    for entry, destination in moves:
        if entry.is_dir():
            destination.mkdir(exist_ok=True)
        else:
            entry.replace(destination)


@contextmanager
def writing_to(path: Path, *, only_in: Path | None = None) -> Iterator[None]:
    """Turn the system's errors into ours; with `only_in`, those alone that come from writing there.

    Raises
    ------
    OutputError
        If the system refuses.
    """
    try:
        yield
    except OSError as error:
        if only_in is not None and not (error.errno in _FULL or _concerns(error, only_in)):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _concerns(error: OSError, path: Path) -> bool:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return any(Path(name).absolute().is_relative_to(path.absolute()) for name in names)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
