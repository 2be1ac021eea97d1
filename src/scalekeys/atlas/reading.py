"""Questions to an atlas: SQL over its tables, by DuckDB, which can neither read nor write anything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from scalekeys.atlas.layout import Layout
from scalekeys.atlas.queries import NAMED
from scalekeys.atlas.schema import FILTERS, LEFT_OUT
from scalekeys.errors import AtlasError

if TYPE_CHECKING:
    import pandas as pd

_QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)  # pivot is many
_LOCKS = ("temp_directory = ''", "enable_external_access = false", "lock_configuration = true")


class Answer:
    """The rows of a query, computed when they are asked for.

    Parameters
    ----------
    relation : duckdb.DuckDBPyRelation
    """

    def __init__(self, relation: Any) -> None:
        self._relation = relation

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
        with _readable_errors():
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
        with _readable_errors():
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

    Raises
    ------
    AtlasError
        If there is no finished atlas, or one of a newer form.
    """

    def __init__(self, folder: str | Path) -> None:
        self._layout = Layout(Path(folder))
        self._connection = duckdb.connect(":memory:")
        for name, table in _tables(self._layout).items():
            self._connection.register(name, table)
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
            statements = self._connection.extract_statements(query)
            if [statement.type in _QUESTIONS for statement in statements] != [True]:
                raise AtlasError("a query is one statement that asks and changes nothing: select ... from filters")
            return Answer(self._connection.sql(query))

    def named(self, name: str) -> Answer:
        """Ask one of the questions of :data:`scalekeys.atlas.queries.NAMED`.

        Raises
        ------
        AtlasError
            If there is none of this name.
        """
        if name not in NAMED:
            raise AtlasError(f"no query is called {name!r}; there are {', '.join(NAMED)}")
        return self.sql(NAMED[name].sql)


def open_atlas(folder: str | Path) -> Atlas:
    """Open the tables of an atlas for questions.

    Raises
    ------
    AtlasError
        If there is no finished atlas in the folder, or one of a newer form.
    """
    return Atlas(folder)


def _tables(layout: Layout) -> dict[str, Any]:
    """Return the tables of an atlas by name; that of filters is read as a query needs it.

    Columns that a file of an older form lacks are empty.
    """
    if layout.seed() is None:
        raise AtlasError(f"{layout.folder}: holds no atlas; `scalekeys atlas build SOURCES -o FOLDER` makes one")
    try:
        networks, failures = pq.read_table(layout.networks), pq.read_table(layout.failures)
        left_out = pq.read_table(layout.left_out) if layout.left_out.exists() else LEFT_OUT.empty_table()
    except FileNotFoundError:
        raise AtlasError(f"{layout.folder}: is not finished; run `scalekeys atlas build` again") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise AtlasError(f"{layout.folder}: its tables are damaged ({error}); build it again") from None
    files = [layout.rows_of(content) for content in networks["content_hash"].unique().to_pylist()]
    for file in files:
        if not file.is_file():
            raise AtlasError(f"{file}: is missing; build again with its source")
    filters = ds.dataset(list(map(str, files)), schema=FILTERS, format="parquet")
    return {"filters": filters, "networks": networks, "failures": failures, "left_out": left_out}


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Turn what DuckDB and Arrow say into one sentence."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise AtlasError(f"the query cannot be answered: {first}") from None
