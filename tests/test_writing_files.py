"""Whole files or none."""

from pathlib import Path

import pytest

from scalekeys.errors import OutputError
from scalekeys.files import new_file, new_folder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), new_file(target, force=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_failure_leaves_no_folder_and_no_parents(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), new_folder(tmp_path / "deep" / "out") as temporary:
        (temporary / "a.txt").write_text("half")
        raise RuntimeError("stop")
    assert _names(tmp_path) == []


def test_nothing_is_overwritten_without_force(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt: exists already; give --force"), new_file(tmp_path / "a.txt"):
        pass
    with pytest.raises(OutputError, match="exists already; give --force"), new_folder(tmp_path):
        pass
    with pytest.raises(OutputError, match=r"a\.txt: is a file; name a folder"), new_folder(tmp_path / "a.txt"):
        pass
    with pytest.raises(OutputError, match="is a folder; name a file"), new_file(tmp_path, force=True):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_force_replaces_files_of_the_same_name_only(tmp_path):
    out = tmp_path / "out"
    with new_folder(out) as temporary:
        (temporary / "a.txt").write_text("first")
    (out / "mine.txt").write_text("mine")
    with new_folder(out, force=True) as temporary:
        (temporary / "a.txt").write_text("second")
    assert _names(tmp_path) == ["out"]
    assert (out / "a.txt").read_text() == "second"
    assert (out / "mine.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), new_file(tmp_path / "file" / "a.txt"):
        pass
