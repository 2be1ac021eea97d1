"""New files and folders appear whole or not at all."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scalekeys.errors import OutputError
from scalekeys.files import check_new_folder, clear_leftovers, locks, new_file, new_files, new_folder


class Interruption(BaseException):
    """Like a keyboard interrupt: no Exception."""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def failing(code: int, filename: object = None):
    def fail(*_arguments, **_options):
        raise OSError(code, os.strerror(code), filename)

    return fail


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "a.txt"
    with new_file(target) as temporary:
        assert temporary.parent == target.parent  # so that the renaming is atomic
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as temporary:
        assert temporary.parent == target.parent
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a.txt").write_text("whole")
        assert not target.exists()
    assert names(tmp_path) == ["out", "out/sub", "out/sub/a.txt"]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_folders_above_are_made(tmp_path, make):
    with make(tmp_path / "a" / "b" / "c"):
        pass
    assert names(tmp_path) == ["a", "a/b", "a/b/c"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_the_user_asks_for_and_not_those_of_a_temporary_file(tmp_path, umask):
    previous = os.umask(umask)
    try:
        with new_file(tmp_path / "a.txt"), new_folder(tmp_path / "out"):
            pass
    finally:
        assert os.umask(previous) == umask
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("error", [ValueError("mine"), Interruption()])
@pytest.mark.parametrize("make", [new_file, new_folder])
def test_an_exception_leaves_nothing_behind(tmp_path, make, error):
    with pytest.raises(type(error)) as caught, make(tmp_path / "a" / "b") as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == []


def test_an_exception_leaves_an_existing_file_as_it_was(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="mine"), new_file(target, force=True) as temporary:
        temporary.write_text("half")
        raise ValueError("mine")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_exception_leaves_an_existing_folder_as_it_was(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="mine"), new_folder(target, force=True) as temporary:
        (temporary / "a.txt").write_text("half")
        raise ValueError("mine")
    assert (target / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out", "out/a.txt"]


def test_a_folder_that_was_there_stays_after_an_exception(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="mine"), new_file(tmp_path / "a" / "b" / "c"):
        raise ValueError("mine")
    assert names(tmp_path) == ["a"]


def test_an_existing_file_is_not_overwritten_unless_forced(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt: exists already; give --force to replace it"), new_file(target):
        pytest.fail("the block ran")
    assert target.read_text() == "old"
    with new_file(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_an_existing_folder_is_not_written_to_unless_forced(tmp_path):
    message = "out: this output folder exists already; give --force"
    with pytest.raises(OutputError, match=message), _existing_folder(tmp_path, force=False):
        pytest.fail("the block ran")
    with pytest.raises(OutputError, match=message):
        check_new_folder(tmp_path / "out")
    check_new_folder(tmp_path / "out", force=True)
    check_new_folder(tmp_path / "new")
    assert names(tmp_path) == ["out", "out/kept", "out/kept/old", "out/same", "out/sub", "out/sub/kept", "out/sub/same"]


def test_a_forced_folder_replaces_files_of_the_same_names_and_keeps_the_others(tmp_path):
    with _existing_folder(tmp_path, force=True) as temporary:
        for name in ("same", "new", "sub/same", "fresh/deep/new"):
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text("new")
    contents = {name: (tmp_path / name).read_text() for name in names(tmp_path) if (tmp_path / name).is_file()}
    assert contents == {
        "out/same": "new",
        "out/new": "new",
        "out/sub/same": "new",
        "out/fresh/deep/new": "new",
        "out/kept/old": "old",
        "out/sub/kept": "old",
    }
    assert {name.split("/")[0] for name in names(tmp_path)} == {"out"}


def _existing_folder(tmp_path: Path, *, force: bool):
    target = tmp_path / "out"
    for name in ("same", "kept/old", "sub/same", "sub/kept"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("old")
    return new_folder(target, force=force)


@pytest.mark.parametrize(
    ("written", "message"),
    [("kept", "kept: is a folder, where a file is to be written"), ("same/a", "same: is a file, where a folder is")],
)
def test_a_forced_folder_is_left_alone_when_a_file_and_a_folder_share_a_name(tmp_path, written, message):
    with pytest.raises(OutputError, match=message), _existing_folder(tmp_path, force=True) as temporary:
        (temporary / "a first").write_text("new")
        (temporary / written).parent.mkdir(exist_ok=True)
        (temporary / written).write_text("new")
    assert names(tmp_path) == ["out", "out/kept", "out/kept/old", "out/same", "out/sub", "out/sub/kept", "out/sub/same"]
    assert (tmp_path / "out" / "same").read_text() == "old"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_no_file_and_a_file_is_no_folder(tmp_path, force):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OutputError, match="folder: is a folder; name a file"),
        new_file(tmp_path / "folder", force=force),
    ):
        pytest.fail("the block ran")
    with pytest.raises(OutputError, match="file: is a file; name a folder"), new_folder(tmp_path / "file", force=force):
        pytest.fail("the block ran")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("make", [new_file, new_folder])
@pytest.mark.parametrize("below", ["a", "a/b"])
def test_a_file_in_the_way_is_named(tmp_path, make, below):
    (tmp_path / "file").write_text("old")
    message = "cannot be written, because .*file is not a folder"
    with pytest.raises(OutputError, match=message), make(tmp_path / "file" / below):
        pytest.fail("the block ran")
    assert names(tmp_path) == ["file"]


def test_a_device_is_not_replaced_even_if_forced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: is not a regular file"), new_file(tmp_path / "pipe", force=True):
        pytest.fail("the block ran")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(("make", "maker"), [(new_file, "mkstemp"), (new_folder, "mkdtemp")])
def test_a_folder_without_permission_is_a_readable_error(tmp_path, monkeypatch, make, maker):
    monkeypatch.setattr(tempfile, maker, failing(errno.EACCES, str(tmp_path)))
    with pytest.raises(OutputError, match=r"a: cannot be written \(Permission denied\)"), make(tmp_path / "new" / "a"):
        pytest.fail("the block ran")
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_a_parent_that_cannot_be_made_is_a_readable_error(tmp_path, monkeypatch, make):
    monkeypatch.setattr(os, "mkdir", failing(errno.EROFS, "somewhere"))
    with (
        pytest.raises(OutputError, match=r"a: cannot be written \(Read-only file system\)"),
        make(tmp_path / "new" / "a"),
    ):
        pytest.fail("the block ran")


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_a_path_that_cannot_be_looked_at_is_a_readable_error(tmp_path, monkeypatch, make):
    monkeypatch.setattr(Path, "is_dir", failing(errno.EACCES))
    with pytest.raises(OutputError, match=r"a: cannot be written \(Permission denied\)"), make(tmp_path / "a"):
        pytest.fail("the block ran")
    with pytest.raises(OutputError, match=r"a: cannot be written \(Permission denied\)"):
        check_new_folder(tmp_path / "a")


@pytest.mark.parametrize(("make", "call"), [(new_file, "replace"), (new_folder, "rename")])
def test_a_failing_rename_is_a_readable_error_and_leaves_nothing_behind(tmp_path, monkeypatch, make, call):
    monkeypatch.setattr(os, call, failing(errno.EPERM))
    with pytest.raises(OutputError, match=r"a: cannot be written \(Operation not permitted\)"), make(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("make", [new_file, new_folder])
def test_a_full_disk_met_inside_the_block_is_a_readable_error(tmp_path, make, code):
    with pytest.raises(OutputError, match=r"a: cannot be written \(") as caught, make(tmp_path / "a"):
        failing(code)()
    assert os.strerror(code) in str(caught.value)
    assert names(tmp_path) == []


def test_an_error_at_the_temporary_path_is_told_with_the_name_the_user_gave(tmp_path):
    message = r"a: cannot be written \(Is a directory\)"
    with pytest.raises(OutputError, match=message) as caught, new_folder(tmp_path / "a") as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub").write_text("not possible")
    assert ".tmp" not in str(caught.value)
    assert isinstance(caught.value.__cause__, IsADirectoryError)


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_an_error_of_the_blocks_own_input_is_not_blamed_on_the_output(tmp_path, make):
    with pytest.raises(FileNotFoundError, match=r"input\.pt"), make(tmp_path / "a"):
        (tmp_path / "input.pt").read_bytes()
    with pytest.raises(ConnectionResetError), make(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert names(tmp_path) == []


def test_a_relative_path_is_written_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with new_file(Path("sub/a.txt")) as temporary:
        temporary.write_text("whole")
    with pytest.raises(OutputError, match=r"^b: cannot be written"), new_folder(Path("b")) as temporary:
        (temporary.absolute() / "missing" / "file").write_text("not possible")
    assert names(tmp_path) == ["sub", "sub/a.txt"]


def test_files_appear_together(tmp_path):
    target = tmp_path / "a.txt"
    with new_files(target) as temporary:
        assert (temporary.name, temporary.parent.parent) == ("a.txt", tmp_path)
        temporary.write_text("whole")
        temporary.with_name("a.data").write_text("more")
        assert names(tmp_path)[1:] == [f"{temporary.parent.name}/a.data", f"{temporary.parent.name}/a.txt"]
    assert names(tmp_path) == ["a.data", "a.txt"]
    assert target.read_text() == "whole"


def test_several_files_have_the_permissions_that_the_user_asks_for(tmp_path):
    with new_files(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        temporary.chmod(0o600)  # as some libraries write
    (tmp_path / "b.txt").write_text("whole")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_none_of_several_files_appears_where_one_exists(tmp_path):
    (tmp_path / "a.data").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.data: exists already; give --force"), new_files(tmp_path / "a.txt") as a:
        a.write_text("whole")
        a.with_name("a.data").write_text("more")
    assert names(tmp_path) == ["a.data"]
    with new_files(tmp_path / "a.txt", force=True) as a:
        a.write_text("whole")
        a.with_name("a.data").write_text("more")
    assert (tmp_path / "a.data").read_text() == "more"


def test_of_several_files_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(Interruption), new_files(tmp_path / "b" / "a.txt") as temporary:
        temporary.write_text("half")
        raise Interruption
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from scalekeys.files import new_file, new_folder
with new_file(Path(sys.argv[1]) / "other.txt") as a, new_folder(Path(sys.argv[1]) / "out") as b:
    (b / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_cleared_by_the_next_that_writes_there(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    left = names(tmp_path)
    assert len(left) == 3
    assert {name.partition("/")[0].rpartition(".scalekeys.tmp")[2] for name in left} == {""}
    with new_file(tmp_path / "a.txt"):
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == ["a.txt"]


def test_files_are_written_into_a_folder_that_is_being_written(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        with new_file(folder / "a.txt") as temporary:
            temporary.write_text("a")
        with new_files(folder / "b.txt") as temporary:
            temporary.write_text("b")
        assert sorted(entry.name for entry in folder.iterdir()) == ["a.txt", "b.txt"]
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.txt", "b.txt", "out"]


def test_what_another_process_is_writing_stays_and_is_not_mixed(tmp_path):
    for make, name in ((new_folder, "out"), (new_files, "a")):
        with make(tmp_path / name) as first:
            message = f"{name}: is being written by another process; wait"
            with pytest.raises(OutputError, match=message), make(tmp_path / name):
                pytest.fail("two write it")
            clear_leftovers(tmp_path / name)
            (first / "b" if make is new_folder else first).write_text("first")
    assert names(tmp_path) == ["a", "out", "out/b"]


def test_of_two_that_write_one_file_the_second_is_refused_or_wins(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=r"a\.txt: exists already"), new_file(target) as first:
        first.write_text("first")
        with new_file(target) as second:
            second.write_text("second")
    assert target.read_text() == "second"
    assert names(tmp_path) == ["a.txt"]


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    with new_file(tmp_path / ("n" * 255)) as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["n" * 255]


def test_where_the_system_has_no_locks_the_work_of_others_stays(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "flock", refuse)
    with new_file(tmp_path / "a.txt") as first:
        first.write_text("first")
        with new_file(tmp_path / "b.txt") as second:
            second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_files_and_folders_are_written_inside_a_folder_that_is_being_written(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        with new_file(folder / "a.txt") as file:
            file.write_text("a")
        with new_folder(folder / "inner") as inner, new_file(inner / "b.txt") as file:
            file.write_text("b")
    assert names(tmp_path) == ["out", "out/a.txt", "out/inner", "out/inner/b.txt"]


@pytest.mark.parametrize("make", [new_file, new_files, new_folder])
def test_a_name_that_is_not_utf8_is_refused(tmp_path, make):
    with pytest.raises(OutputError, match="is a name that is not UTF-8"), make(tmp_path / os.fsdecode(b"caf\xe9")):
        pytest.fail("the block ran")
