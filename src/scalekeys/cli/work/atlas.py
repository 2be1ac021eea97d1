"""What ``scalekeys atlas`` does with answers: JSON, and files."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.atlas import Answer
from scalekeys.errors import AtlasError, OutputError
from scalekeys.files import check_new_file, new_file
from scalekeys.files.csv_cells import write_csv

if TYPE_CHECKING:
    from scalekeys.atlas import Summary

_IN_CSV = (  # what the writer of CSV takes, and writes as one would read it; it refuses or garbles others
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_null,
)


def check_networks(summary: "Summary") -> None:
    """Refuse a run of which nothing came.

    Raises
    ------
    AtlasError
        If the atlas holds no network.
    """
    if not summary.networks:
        raise AtlasError(f"none of the sources could be read; the first: {summary.failures[0][1]}")


def rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    """Yield the values of each row; two columns may share a name."""
    for batch in answer.batches():
        yield from zip(*map(_values, batch.columns), strict=True)


def to_json(answer: Answer) -> str:
    """Return the rows of an answer as a list of objects; what is not a number is null."""
    names = answer.columns
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AtlasError(f"two columns of the answer are called {twice!r}; rename one of them with `as`")
    return json.dumps([dict(zip(names, map(_plain, row), strict=True)) for row in rows(answer)], indent=2)


def write_rows(answer: Answer, path: Path, *, force: bool = False) -> None:
    """Write all rows of an answer into a ``.csv`` or ``.parquet`` file.

    What CSV has no form for is JSON in it, and bytes are hexadecimal.

    Raises
    ------
    OutputError
        If the suffix is another one, or the file exists and `force` is not given, or cannot be written.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise OutputError(f"{path}: rows are written into .csv and .parquet files; give one of these suffixes")
    check_new_file(path, force=force)
    batches = answer.batches()
    first = next(batches)
    with new_file(path, force=force) as temporary:
        if path.suffix.lower() == ".parquet":
            try:
                with pq.ParquetWriter(temporary, first.schema) as writer:
                    for batch in chain((first,), batches):
                        writer.write_batch(batch)
            except pa.ArrowNotImplementedError as error:
                raise OutputError(
                    f"{path}: the answer has a column of a type that Parquet files do not have ({error}); turn it into "
                    "another one, as in column::varchar, or write a .csv file"
                ) from error
        else:
            first = _flat(first)
            write_csv(temporary, first.schema, chain((first,), map(_flat, batches)))


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turn the columns of a batch that CSV has no form for into words."""
    columns = [
        column
        if any(check(column.type) for check in _IN_CSV)
        else pa.array([None if value is None else _word(value) for value in column.to_pylist()], pa.string())
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _word(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _values(column: pa.Array) -> list[Any]:
    """Return the values of a column; as words, where they are beyond what Python's own types can be.

    A sum of whole numbers, which DuckDB gives as decimal numbers without decimals, is made of whole numbers.
    """
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        values = column.cast(pa.string()).to_pylist()
    if pa.types.is_decimal(column.type) and column.type.scale == 0:
        values = [None if value is None else int(value) for value in values]
    return values


def _plain(value: Any) -> Any:
    """Return a value that JSON knows."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | str):
        return value
    return float(value) if isinstance(value, Decimal) else str(value)
