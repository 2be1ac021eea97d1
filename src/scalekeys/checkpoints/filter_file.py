"""Files of bare filters: ``.npy`` arrays and ``.csv`` tables."""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from scalekeys.errors import CheckpointError, FilterError
from scalekeys.files import open_regular, read_text, reading_from
from scalekeys.shapes import as_float_tensor

_COORDINATES = ("filter", "y")


def read_filters(path: Path) -> Float64[Tensor, "filters rows cols"]:
    r"""Read filters of one size from a file.

    Parameters
    ----------
    path : Path
        ``.npy``: an array of shape (filters, rows, cols) or (rows, cols). ``.csv``: a table with the columns `filter`,
        `y` (which points up) and one for each tap of a row, from left to right; or, without a header, one square filter
        a line, row by row from the top. Lines that start with ``#`` are comments.

    Returns
    -------
    Tensor, shape (filters, rows, cols), float64

    Raises
    ------
    CheckpointError
        If the file is missing, of another kind, or holds no such filters; the message says where.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "filters.csv"
    >>> _ = path.write_text("filter,y,x-1,x0,x1\n" + "\n".join(f"1,{y},0,{y},0" for y in (1, 0, -1)))
    >>> read_filters(path)
    tensor([[[ 0.,  1.,  0.],
             [ 0.,  0.,  0.],
             [ 0., -1.,  0.]]], dtype=torch.float64)
    """
    path = Path(path)
    read = {".npy": _from_npy, ".csv": _from_csv}.get(path.suffix.lower())
    if read is None:
        raise CheckpointError(f"{path}: filters are read from .npy and .csv files; convert it, or rename it")
    with reading_from(path, CheckpointError):
        values = read(path)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or 0 in values.shape:
        raise CheckpointError(f"{path}: holds an array of shape {tuple(values.shape)}; give (filters, rows, cols)")
    return values


def write_filters(filters: Float64[Tensor, "filters rows cols"], path: Path) -> None:
    """Write filters, numbered from 0, as a table that :func:`scalekeys.checkpoints.read_filters` reads back exactly.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols), float64
    path : Path
        The ``.csv`` file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "filters.csv"
    >>> write_filters(torch.tensor([[[0.0, 1.0], [2.0, 0.1]]], dtype=torch.float64), path)
    >>> print(path.read_text())
    filter,y,x0,x1
    0,0,0.0,1.0
    0,-1,2.0,0.1
    >>> read_filters(path)
    tensor([[[0.0000, 1.0000],
             [2.0000, 0.1000]]], dtype=torch.float64)
    """
    _, rows, cols = filters.shape
    columns = [f"x{x}" for x in range(-((cols - 1) // 2), cols // 2 + 1)]
    heights = range((rows - 1) // 2, -(rows // 2) - 1, -1)
    lines = [",".join((*_COORDINATES, *columns))]
    for number, filter_ in enumerate(filters.tolist()):
        lines += [",".join(map(str, (number, y, *taps))) for y, taps in zip(heights, filter_, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _from_npy(path: Path) -> Tensor:
    try:
        with open_regular(path):
            values = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(values, np.ndarray):
            raise CheckpointError(f"{path}: is an archive, not one array; save it with numpy.save")
        return as_float_tensor(values).double()
    except (ValueError, EOFError, SyntaxError, MemoryError, TokenError, FilterError) as error:
        raise CheckpointError(f"{path}: is not an array of real numbers ({error}); save it with numpy.save") from None


def _from_csv(path: Path) -> Tensor:
    text = read_text(path, CheckpointError, encoding="utf-8-sig")
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    lines = [(number, line) for number, line in numbered if not line.lstrip().startswith("#")]
    rows = [(number, [cell.strip() for cell in line.split(",")]) for number, line in lines]
    if not rows:
        raise CheckpointError(f"{path}: holds no filters")
    header = [cell.lower() for cell in rows[0][1]]
    if header[:2] == list(_COORDINATES):
        return _from_table(path, len(header), rows[1:])
    return _from_lines(path, rows)


def _from_table(path: Path, width: int, rows: Sequence[tuple[int, list[str]]]) -> Tensor:
    """One line for each row of each filter."""
    filters: dict[str, dict[float, list[float]]] = {}
    for number, cells in rows:
        if len(cells) != width:
            raise CheckpointError(f"{path}, line {number}: has {len(cells)} cells where the header has {width}")
        y, *taps = _numbers(path, number, cells[1:])
        if y in filters.setdefault(cells[0], {}):
            raise CheckpointError(f"{path}, line {number}: filter {cells[0]} has a row y = {y:g} already")
        filters[cells[0]][y] = taps
    if not filters:
        raise CheckpointError(f"{path}: holds a header and no filters")
    heights = {name: len(taps) for name, taps in filters.items()}
    if len(set(heights.values())) != 1:
        raise CheckpointError(f"{path}: the filters must have as many rows each, got {heights}")
    for name, filter_ in filters.items():
        if not all(y == min(filter_) + step for step, y in enumerate(sorted(filter_))):
            raise CheckpointError(f"{path}: the rows y of filter {name} must be consecutive, got {sorted(filter_)}")
    stacks = [[taps[y] for y in sorted(taps, reverse=True)] for taps in filters.values()]
    return torch.tensor(stacks, dtype=torch.float64)


def _from_lines(path: Path, rows: Sequence[tuple[int, list[str]]]) -> Tensor:
    """One line for each filter."""
    filters = [_numbers(path, number, cells) for number, cells in rows]
    width = len(filters[0])
    for (number, _), taps in zip(rows, filters, strict=True):
        if len(taps) != width:
            raise CheckpointError(f"{path}, line {number}: has {len(taps)} numbers where the first has {width}")
    side = isqrt(width)
    if side * side != width:
        raise CheckpointError(
            f"{path}: a line has {width} numbers, which is no square filter; "
            "give a table with the columns filter, y, ..."
        )
    return torch.tensor(filters, dtype=torch.float64).reshape(-1, side, side)


def _numbers(path: Path, line: int, cells: Sequence[str]) -> list[float]:
    numbers = []
    for cell in cells:
        try:
            numbers.append(float(cell))
        except ValueError:
            raise CheckpointError(f"{path}, line {line}: {cell!r} is not a number") from None
    return numbers
