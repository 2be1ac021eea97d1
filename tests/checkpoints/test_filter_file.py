"""Files of bare filters."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.checkpoints import read_filters, write_filters


def test_the_published_table_gives_the_published_filters(shared):
    np.testing.assert_array_equal(read_filters(shared / "method" / "master_key_filters.csv"), sk.master_keys())


@pytest.mark.parametrize("size", [(7, 7), (1, 5), (4, 3), (2, 2)])
def test_what_is_written_is_read_back_to_the_last_digit(tmp_path, size):
    filters = torch.randn(12, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-7
    write_filters(filters, tmp_path / "filters.csv")
    assert torch.equal(read_filters(tmp_path / "filters.csv"), filters)


def test_the_centre_of_a_written_filter_stands_at_the_origin(tmp_path):
    write_filters(sk.master_keys()[7:], tmp_path / "filters.csv")
    header, *rows = (line.split(",") for line in (tmp_path / "filters.csv").read_text().splitlines())
    centre = next(row for row in rows if row[1] == "0")
    assert float(centre[header.index("x0")]) == sk.master_keys()[7].max()


def test_an_array_is_read_in_any_type(tmp_path):
    filters = np.random.default_rng(0).standard_normal((4, 3, 5))
    for dtype in ("<f4", ">f8", "<f2"):
        np.save(tmp_path / "filters.npy", filters.astype(dtype))
        np.testing.assert_array_equal(read_filters(tmp_path / "filters.npy"), filters.astype(dtype).astype(float))
    np.save(tmp_path / "one.npy", filters[0])
    assert read_filters(tmp_path / "one.npy").shape == (1, 3, 5)


def test_a_line_a_filter_is_read_row_by_row_from_the_top(tmp_path):
    path = tmp_path / "filters.csv"
    path.write_text("# nine taps each\n" + "\n".join(",".join(map(str, range(s, s + 9))) for s in (0, 9)))
    np.testing.assert_array_equal(read_filters(path), np.arange(18.0).reshape(2, 3, 3))


def test_rows_of_a_table_are_ordered_by_their_coordinate(tmp_path):
    path = tmp_path / "filters.csv"
    path.write_text("filter,y,x-1,x0,x1\na,-1,7,8,9\na,1,1,2,3\na,0,4,5,6\n", encoding="utf-8-sig")
    np.testing.assert_array_equal(read_filters(path), np.arange(1.0, 10.0).reshape(1, 3, 3))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"not an array", "is not an array of real numbers"),
        ("a.npy", b"", "is not an array of real numbers"),
        ("a.csv", b"\xff\xfe\x00", r"is not a text file \(byte 0 is not UTF-8\); save it as UTF-8"),
        ("a.csv", b"", "holds no filters"),
        ("a.csv", b"1,2,x\n", "line 1: 'x' is not a number"),
        ("a.csv", b"1,2,3,4\n1,2\n", "line 2: has 2 numbers where the first has 4"),
        ("a.csv", b"1,2,3\n", "a line has 3 numbers, which is no square filter"),
        ("a.csv", b"filter,y,x0\n1,0,2\n1,0,3\n", "line 3: filter 1 has a row y = 0 already"),
        ("a.csv", b"filter,y,x0\n1,0,2\n1,1,3\n2,0,4\n", "the filters must have as many rows each"),
        ("a.csv", b"filter,y,x0,x1\n1,0,2\n", "line 2: has 3 cells where the header has 4"),
        ("a.csv", b"filter,y,x0\n", "holds a header and no filters"),
        ("a.csv", b"filter,y,x0\n1,3,2\n1,1,3\n1,0,4\n", "the rows y of filter 1 must be consecutive"),
        ("a.csv", b"filter,y,x0\n1,nan,2\n", "the rows y of filter 1 must be consecutive"),
        ("a.csv", b"1," * 100_000 + b"x", "line 1: 'x' is not a number"),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8', ", "is not an array of real numbers"),
        ("a.txt", b"1", "filters are read from .npy and .csv files"),
    ],
)
def test_a_bad_file_gets_one_sentence_that_says_where(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(sk.CheckpointError, match=message) as error:
        read_filters(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_in_an_array_is_not_executed(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(sk.CheckpointError, match="is not an array of real numbers"):
        read_filters(tmp_path / "a.npy")


def test_an_archive_of_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((3, 3)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(sk.CheckpointError, match="is an archive, not one array"):
        read_filters(tmp_path / "a.npy")


def test_a_missing_file_or_another_shape_is_refused(tmp_path):
    with pytest.raises(sk.CheckpointError, match=r"nothing\.npy: cannot be read \(No such file"):
        read_filters(tmp_path / "nothing.npy")
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 3, 3)))
    with pytest.raises(sk.CheckpointError, match=r"holds an array of shape \(2, 2, 3, 3\)"):
        read_filters(tmp_path / "a.npy")
