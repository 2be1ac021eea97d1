"""Questions to an atlas: SQL over its tables, by DuckDB, which can neither read nor write anything else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from scalekeys.atlas.layout import Layout, is_content, is_export, layout_of
from scalekeys.atlas.queries import NAMED
from scalekeys.atlas.schema import (
    FAILURES,
    FILTERS,
    FORMERLY,
    LEFT_OUT,
    NETWORKS,
    SCHEMA_VERSION,
    read_whole,
    stamp_of,
)
from scalekeys.errors import AtlasError, ScaleKeysError, perhaps
from scalekeys.files import exists, expanded
from scalekeys.optional import first_line

if TYPE_CHECKING:
    import pandas as pd

_QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)  # pivot is many
_STORED = "stored_filters"
_LOCKS = ("temp_directory = ''", "enable_external_access = false", "lock_configuration = true")


class Answer:
    """The rows of a query, computed when they are asked for.

    Parameters
    ----------
    relation : duckdb.DuckDBPyRelation
    files : sequence of Path
        The files that it may read.
    repair : str
        What to do where one of the files is damaged.
    connection : duckdb.DuckDBPyConnection, optional
        The connection that the answer comes through; it is kept because DuckDB before 1.5 closes a connection that is
        no longer used elsewhere, even if an answer has not been fetched yet.
    """

    def __init__(
        self, relation: Any, files: Sequence[Path] = (), repair: str = Layout.repair_rows, connection: Any = None
    ) -> None:
        self._relation, self._files, self._repair, self._connection = relation, files, repair, connection

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._relation.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows a part at a time; one without rows where there are none.

        Raises
        ------
        AtlasError
            If they cannot be computed.
        """
        with _readable_errors(self._files, self._repair):
            reader = pa.RecordBatchReader.from_stream(self._relation)
            first = next(iter(reader), None)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema) if first is None else first
            yield from reader

    def to_arrow(self) -> pa.Table:
        """Return all rows.

        Raises
        ------
        AtlasError
            If they cannot be computed.
        """
        with _readable_errors(self._files, self._repair):
            return pa.RecordBatchReader.from_stream(self._relation).read_all()

    def to_pandas(self) -> "pd.DataFrame":
        """Return all rows as a data frame; a missing integer of 32 bits is `<NA>`.

        Raises
        ------
        AtlasError
            If they cannot be computed.
        """
        import pandas as pd

        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
        return frame


class Atlas:
    """The tables of an atlas, open for questions.

    Parameters
    ----------
    folder : str or Path
        Of an atlas, or of an export of one.

    Raises
    ------
    AtlasError
        If there is no finished atlas, or one of a newer form.
    """

    def __init__(self, folder: str | Path) -> None:
        self._layout = layout_of(expanded(folder))
        self._connection = duckdb.connect(":memory:")
        tables, self._files = _tables(self._layout)
        with _readable_errors():
            for name, table in tables.items():
                self._connection.register(name, table)
            self._connection.execute(f"create view filters as select {_columns()} from {_STORED}")
        for lock in _LOCKS:
            self._connection.execute(f"set {lock}")

    def __repr__(self) -> str:
        return f"Atlas({str(self._layout.folder)!r})"

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self._layout.folder.resolve().name

    def sql(self, query: str) -> Answer:
        """Ask in SQL.

        Parameters
        ----------
        query : str
            One statement of DuckDB's SQL over the tables `filters`, `networks`, `failures` and `left_out`. Other files,
            the network and the variables of the program are out of its reach.

        Raises
        ------
        AtlasError
            If it is no such statement.

        Examples
        --------
        >>> import tempfile
        >>> import scalekeys as sk
        >>> folder = tempfile.mkdtemp()
        >>> summary = sk.atlas.build(["builtin:master-keys"], folder)
        >>> sk.atlas.open(folder).sql("select family, sigma_x from filters where r2 > 0.99").to_pandas().round(2)
            family  sigma_x
        0  sharpen     0.68
        1   smooth     0.63
        """
        with _readable_errors():
            query.encode()  # which fails where the query is no text
            statements = self._connection.extract_statements(query)
            if [statement.type in _QUESTIONS for statement in statements] != [True]:
                raise AtlasError("a query is one statement that asks and changes nothing: select ... from filters")
            return Answer(self._connection.sql(query), self._files, self._layout.repair_rows, self._connection)

    def named(self, name: str) -> Answer:
        """Ask one of the questions of :data:`scalekeys.atlas.queries.NAMED`.

        Raises
        ------
        AtlasError
            If there is none of this name.
        """
        if name not in NAMED:
            raise AtlasError(f"no query is called {name!r}{perhaps(name, NAMED)}; there are {', '.join(NAMED)}")
        return self.sql(NAMED[name].sql)


def open_atlas(folder: str | Path) -> Atlas:
    """Open the tables of an atlas, or of an export of one, for questions.

    Raises
    ------
    AtlasError
        If there is no finished atlas in the folder, or one of a newer form.
    """
    return Atlas(folder)


def _tables(layout: Layout) -> tuple[dict[str, Any], list[Path]]:
    """Return the tables of an atlas by name, and the files of filters, which are read as a query needs it.

    Columns that a file of an older form lacks are empty. Filters are registered with the former names of columns, too,
    and :func:`_columns` makes a table of the present form of them.
    """
    if layout.known() is None:
        raise AtlasError(f"{layout.folder}: holds no atlas; `scalekeys atlas build SOURCES -o FOLDER` makes one")
    networks, failures = read_table(layout, layout.networks, NETWORKS), read_table(layout, layout.failures, FAILURES)
    left_out = read_table(layout, layout.left_out, LEFT_OUT) if exists(layout.left_out) else LEFT_OUT.empty_table()
    contents = networks["content_hash"].unique().to_pylist()
    if not all(map(is_content, contents)):
        raise _damaged(layout, layout.networks, "a content hash is not 64 hexadecimal digits")
    files = layout.files(contents)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    filters = ds.dataset(list(map(str, files)), schema=pa.schema([*FILTERS, *FORMERLY.values()]), format=form)
    return {_STORED: filters, "networks": networks, "failures": failures, "left_out": left_out}, files


def _columns() -> str:
    """Return the columns of filters in SQL, each under its present name."""
    former = {name: f"coalesce({name}, {field.name}) as {name}" for name, field in FORMERLY.items()}
    return ", ".join(former.get(name, f'"{name}"') for name in FILTERS.names)


def read_table(layout: Layout, path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table of sources; raises AtlasError if it is missing or damaged."""
    try:
        return read_whole(path, schema)
    except FileNotFoundError:
        raise AtlasError(f"{path if is_export(layout.folder) else layout.folder}: {layout.unfinished}") from None
    except ValueError as error:
        raise _damaged(layout, path, str(error)) from None


def _damaged(layout: Layout, path: Path, how: str) -> AtlasError:
    return AtlasError(f"{path}: is damaged ({how}); {layout.repair}")


@contextmanager
def _readable_errors(files: Sequence[Path] = (), repair: str = "") -> Iterator[None]:
    """Turn what DuckDB and Arrow say into one sentence, which names the first of the files that is damaged."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError, ValueError, MemoryError) as error:
        if isinstance(error, ScaleKeysError):
            raise
        for file in files:
            _check_rows(file, repair)
        raise AtlasError(f"the query cannot be answered: {first_line(error)}") from None


def _check_rows(file: Path, repair: str) -> None:
    """Refuse a damaged file of rows; one of an older form may lack columns."""
    stamp = stamp_of(file)
    try:
        if stamp is None:
            raise ValueError("it has no rows of filters of this version")  # noqa: TRY301
        read_whole(file, FILTERS if stamp[0] == SCHEMA_VERSION else pa.schema([]))
    except (OSError, ValueError) as error:
        raise AtlasError(f"{file}: is damaged ({error}); {repair}") from None
