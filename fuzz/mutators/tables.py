"""Mutations of tables and arrays: CSV, Parquet, ``.npy`` and HDF5."""

import csv
import io
from random import Random
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.mutators import tree

_CELLS = ("", "nan", "inf", "-1e400", "x", "=1+1", '"', "1;2", "\0", "9" * 400, "é", "1,2", "0x10", " ", "1_0")
_DTYPES = ("<f4", "<f8", "<i8", "|b1", "<c8", "|O", "<U9", "|V3", "<M8[s]", "<f2", ">f4", "x", "<f4,<f4")
_SIDES: tuple[tuple[int, ...], ...] = ((), (0,), (1 << 40,), (1 << 20, 1 << 20), (2, 3), (0, 7, 7), (1,) * 40, (-1, 7))


def csv_cell(content: bytes, random: Random) -> bytes:
    """Change a cell of a CSV file, or a line of it."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    place = random.randrange(len(rows))
    change = random.choice(("cell", "cell", "cell", "remove", "repeat", "short", "long"))
    if change == "cell" and rows[place]:
        rows[place][random.randrange(len(rows[place]))] = random.choice(_CELLS)
    elif change == "remove":
        del rows[place]
    elif change == "short":
        rows[place] = rows[place][:-1]
    else:
        rows.insert(place, rows[place] * (2 if change == "long" else 1))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=random.choice(("\n", "\r\n", "\r"))).writerows(rows)
    return buffer.getvalue().encode(random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def npy_header(content: bytes, random: Random) -> bytes:
    """Change type, order or shape in the header of an array, or put other text there."""
    length = int.from_bytes(content[8:10], "little")
    shape = random.choice(_SIDES)
    header = random.choice(
        (
            repr({"descr": random.choice(_DTYPES), "fortran_order": False, "shape": (2, 7, 7)}),
            repr({"descr": "<f8", "fortran_order": random.choice((True, 3)), "shape": shape}),
            repr({"descr": "<f8", "shape": shape}),
            "[" * 900,
            "__import__('fuzz.canary').fire()",
        )
    )
    text = header.encode() + b"\n"
    return content[:8] + len(text).to_bytes(2, "little") + text + content[10 + length :]


def parquet_column(content: bytes, random: Random) -> bytes:
    """Remove, rename, repeat or retype a column of a table, or take rows out."""
    table = pq.read_table(io.BytesIO(content))
    place = random.randrange(table.num_columns)
    name, column = table.column_names[place], table.column(place)
    change = random.choice(("remove", "rename", "nulls", "text", "float", "rows"))
    if change == "remove":
        table = table.remove_column(place)
    elif change == "rename":
        table = table.rename_columns(
            [*table.column_names[:place], random.choice(("", "x", name.upper())), *table.column_names[place + 1 :]]
        )
    elif change == "rows":
        table = table.slice(random.randrange(table.num_rows + 1))
    else:
        values: dict[str, Any] = {
            "nulls": [None] * table.num_rows,
            "text": ["=\0x"] * table.num_rows,
            "float": [float("nan")] * table.num_rows,
        }
        table = table.set_column(place, name, pa.array(values[change], None if change != "nulls" else column.type))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def hdf5_item(content: bytes, random: Random) -> bytes:
    """Change an attribute, a group or a data set of an HDF5 file."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = [""]
        file.visit(names.append)
        item = file[random.choice(names) or "/"]
        if item.attrs and random.random() < 0.5:
            _change_attribute(item.attrs, random)
        elif isinstance(item, h5py.Dataset):
            _change_data(item, random)
        else:
            _change_group(item, random)
    return buffer.getvalue()


def _change_attribute(attributes: Any, random: Random) -> None:
    name = random.choice(list(attributes))
    del attributes[name]
    value = random.choice(
        (
            None,
            1,
            np.nan,
            b"\xff",
            "[" * 3000,
            "x",
            [b"x", b"y"],
            np.zeros((2, 2)),
            str(tree.odd(random))[:60000].replace("\0", ""),
        )
    )
    if value is not None:
        attributes[name] = value


def _change_data(data: Any, random: Random) -> None:
    parent, name = data.parent, data.name
    del parent[name]
    change = random.choice(("gone", "shape", "dtype", "bomb", "group"))
    if change == "shape":
        parent.create_dataset(name, random.choice(((0,), (1, 2), (3, 3, 4, 1), (3, 3, 4, 0), ())), "f4")
    elif change == "dtype":
        parent[name] = random.choice(
            (np.zeros(3, "c8"), np.zeros((3, 3, 4, 1), "i1"), np.array([b"x"]), np.zeros((3, 3, 4, 1), "f2"))
        )
    elif change == "bomb":
        parent.create_dataset(name, (3, 3, 1 << 32, 1), "f4", chunks=(3, 3, 1024, 1), fillvalue=1.0, compression="gzip")
    elif change == "group":
        parent.create_group(name)


def _change_group(group: Any, random: Random) -> None:
    target = random.choice(
        (h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/passwd", "/x"), group)
    )
    group[random.choice(("x", "é", "depthwise_kernel:0", "kernel", "vars"))] = target
