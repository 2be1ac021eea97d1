"""The tables of an atlas and the version of their form, which stands in every file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.atlas.columns import SCHEMAS
from scalekeys.files import open_regular
from scalekeys.optional import first_line

SCHEMA_VERSION = 4
"""To be raised with every change of :data:`FILTERS`, or of what its columns mean.

Files of an older version are made anew where they can be.
"""

SHAPE_MEASURES = ("centre_x", "centre_y", "centre_z", "rank1", "rank2", "rank3", "rank1_centred")
"""Columns of numbers that describe the shape of single filters; each is measured of both controls too."""

FILTERS = SCHEMAS["filters"]
"""One row a filter: the columns of a fit, the r2 of the 2-jet, of white and of matched noise, and where it comes from.

Of the columns of a fit, `sigma_along` and `sigma_across` of oriented families are left out.
The pitch is the geometric mean over the axes, empty where a source does not tell it.
Sides and scales along axes that a kernel does not have are empty, and so is what
:func:`scalekeys.fitting.orientation` gives of kernels that have no angle. The gains of noise are beyond its own fit.
Columns that end in `_white` and `_matched` hold what is measured of noise in the place of a filter, in the same way:
the family and the scale of a fit (the geometric mean over the axes), and what
:func:`scalekeys.atlas.shape_columns.shape_columns` gives.
"""

FORMERLY = {"r2_white": pa.field("r2_control", pa.float64())}
"""Columns that files of versions 1 and 2 have under another name."""

NETWORKS = SCHEMAS["networks"]
"""One row a source that was read; columns of metadata follow."""

LEFT_OUT = SCHEMAS["left_out"]
"""One row a tensor or layer that looks like a kernel and is not read; `network` is the source that holds it."""

FAILURES = SCHEMAS["failures"]
"""One row a source that was not read; columns of metadata follow."""

WRITING = {
    "write_page_checksum": True,
    "use_dictionary": [field.name for field in FILTERS if not pa.types.is_floating(field.type)],
}
"""How tables are written: so that a flipped bit is noticed, and without an index of numbers that never repeat."""

_VERSION, _SOURCE = b"scalekeys.schema", b"scalekeys.source"


def stamped(source: str, version: int = SCHEMA_VERSION) -> pa.Schema:
    """Return the form of a file of filters with the version in which its rows were made, and its source."""
    return FILTERS.with_metadata({_VERSION: str(version), _SOURCE: source})


def restamped(schema: pa.Schema, source: str) -> pa.Schema:
    """Return the form of a file, of whatever version, with another source."""
    return schema.with_metadata({**(schema.metadata or {}), _SOURCE: source})


def under(table: pa.Table, source: str, model: str) -> pa.Table:
    """Put rows of filters under the name of a source."""
    for name, word in (("source", source), ("model", model)):
        field = table.schema.field(name)
        column = pa.repeat(pa.scalar(word, field.type), len(table))
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table


def stamp_of(path: Path) -> tuple[int, str] | None:
    """Return version and source of a file of filters; None where there is no whole file."""
    try:
        with open_regular(path) as file:
            schema = pq.read_schema(file)
        metadata = schema.metadata or {}
        version, source = int(metadata[_VERSION]), metadata[_SOURCE].decode()
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return (version, source) if version != SCHEMA_VERSION or fault(schema, FILTERS) is None else None


def fault(found: pa.Schema, wanted: pa.Schema) -> str | None:
    """Say what keeps a table from having the wanted columns, besides others; None where it has them."""
    for field in wanted:
        if len(found.get_all_field_indices(field.name)) != 1:
            return f"it has no column {field.name!r}, or two"
        if found.field(field.name).type != field.type:
            return f"its column {field.name!r} holds {found.field(field.name).type} in the place of {field.type}"
    return None


def read_whole(path: Path, wanted: pa.Schema) -> pa.Table:
    """Read a table, and check its values and its columns.

    Raises FileNotFoundError if there is none; ValueError if it is damaged; the message says how.
    """
    try:
        with open_regular(path) as file:
            table = pq.read_table(file, page_checksum_verification=True)
        table.validate(full=True)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, MemoryError) as error:
        raise ValueError(getattr(error, "strerror", None) or first_line(error)) from None
    problem = fault(table.schema, wanted)
    if problem is not None:
        raise ValueError(problem)
    return table
