"""Cells of CSV files that a spreadsheet shows as they are, and does not run as formulas."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.csv as pc

T = TypeVar("T")

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet may take for the beginning of a formula, behind the apostrophes that were put before it."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def safe_cell(value: T) -> T | str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; numbers stay as they are.

    `value`: of any type; only strings are changed.

    >>> safe_cell("=1+1"), safe_cell("-0.5"), safe_cell(-0.5), safe_cell("net"), safe_cell("'=1+1")
    ("'=1+1", '-0.5', -0.5, 'net', "''=1+1")
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def original_cell(text: str) -> str:
    """Return what :func:`safe_cell` was given.

    >>> [original_cell(str(safe_cell(text))) for text in ("=1+1", "'=1", "-2", "'tis")]
    ['=1+1', "'=1", '-2', "'tis"]
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write rows as CSV, with :func:`safe_cell` applied to the names and to the columns of strings.

    `schema`: of the batches; its columns have no parts.

    >>> import tempfile
    >>> path, rows = Path(tempfile.mkdtemp()) / "a.csv", pa.table({"a": ["=x", None], "b": [1, 2]})
    >>> write_csv(path, rows.schema, rows.to_batches())
    >>> print(path.read_text(), end="")
    "a","b"
    "'=x",1
    ,2
    """
    names = [safe_cell(name) for name in schema.names]
    safe = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])
    with pc.CSVWriter(path, safe) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([_safe_column(column) for column in batch.columns], names))


def _safe_column(column: pa.Array) -> pa.Array:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    distinct = column.dictionary_encode()
    words = pa.array([safe_cell(word) for word in distinct.dictionary.to_pylist()], column.type)
    return words.take(distinct.indices)
