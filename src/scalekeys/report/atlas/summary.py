"""The figures of a report on an atlas, as tables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from scalekeys.atlas import Atlas
from scalekeys.atlas.schema import NETWORKS
from scalekeys.report.atlas import questions
from scalekeys.report.atlas.correlation import Correlation, correlation, with_holm
from scalekeys.report.atlas.formation import kernels_table, with_formation
from scalekeys.report.atlas.orientation import orientation_table
from scalekeys.report.page.families import by_kind
from scalekeys.report.page.words import SIGMA
from scalekeys.scalespace import IDEAL8

STATISTICS: Mapping[str, str] = {
    "sigma": "median scale",
    "sigma_x": f"median {SIGMA} along x",
    "sigma_y": f"median {SIGMA} along y",
    "sigma_z": f"median {SIGMA} along z",
    "sigma_spread": "spread of the scale, quartiles",
    "sigma_slope": "growth of the scale over depth",
    "infinite": "share of infinite scales",
    "r2": "median r², eight families",
    "r2_jet2": "median r², 2-jet",
    "structured": "share of structured filters",
    "formation": "formation",
    "beyond_matched": "share beyond matched noise",
    **{f"share_{family}": f"share of {family}" for family in by_kind(IDEAL8)},
}
"""What is computed of each network and correlated with its metadata, with its words."""

_CORRELATIONS = pa.schema(
    [
        *((name, pa.string()) for name in ("statistic", "metadata")),
        *((name, pa.int64()) for name in ("networks", "architectures")),
        *((name, pa.float64()) for name in ("rho", "low", "high", "p", "p_holm")),
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class AtlasSummary:
    """What a report on an atlas shows; each table is also a CSV file beside it.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        ``explained``, ``scales``, ``mix``, ``orientation``, ``networks``, ``kernels``, ``failures`` and ``left_out``.
    counts : dict
        Networks, duplicates, failures, filters, and filters that could be fitted.
    about : mapping of str to mapping of str to value
        The metadata of each network, by its source.
    metadata : tuple of str
        Columns of numbers that the user brought.
    not_numbers : tuple of str
        Other columns that the user brought, but for ``architecture``.
    """

    tables: Mapping[str, pa.Table]
    counts: Mapping[str, int]
    about: Mapping[str, Row]
    metadata: tuple[str, ...]
    not_numbers: tuple[str, ...]

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table."""
        rows: list[Row] = self.tables[table].to_pylist()
        return rows

    @cached_property
    def total(self) -> Row | None:
        """What the models explain of all filters; None in an atlas without filters."""
        return next((row for row in self.rows("explained") if row["kernel"] == "all"), None)

    @cached_property
    def correlations(self) -> tuple[Correlation, ...]:
        """Every statistic of the networks with every column of metadata, adjusted for their number."""
        groups = self.tables["networks"]["architecture"].to_pylist()
        return with_holm(
            [
                correlation(statistic, column, self.values(statistic), self.values(column), groups)
                for column in self.metadata
                for statistic in STATISTICS
                if np.isfinite(self.values(statistic)).any()
            ]
        )

    @property
    def correlation_table(self) -> pa.Table:
        """The correlations as a table."""
        return pa.Table.from_pylist([asdict(one) for one in self.correlations], schema=_CORRELATIONS)

    def values(self, column: str) -> Any:
        """Return a column of the table of networks as numbers, NaN where there is none."""
        values = self.tables["networks"][column].to_pylist()
        return np.array([np.nan if value is None else float(value) for value in values])


def summarize_atlas(atlas: Atlas) -> AtlasSummary:
    """Compute the figures of a report in the tables of an atlas.

    Raises
    ------
    AtlasError
        If the tables cannot be read.
    """
    networks = atlas.sql("select * from networks").to_arrow()
    brought = [field for field in networks.schema if field.name not in NETWORKS.names]
    metadata = {_label(field.name): field.name for field in brought if _is_number(field.type)}
    others = (field.name for field in brought if not _is_number(field.type))
    architecture = any(field.name.lower() == "architecture" for field in brought)
    asked = {
        "explained": questions.EXPLAINED,
        "scales": questions.SCALES,
        "mix": questions.mix(architecture),
        "orientation": questions.ORIENTATION,
        "networks": questions.by_network(metadata, architecture),
        "kernels": questions.KERNELS,
        "failures": questions.FAILURES,
        "left_out": questions.LEFT_OUT,
    }
    tables = {name: atlas.sql(query).to_arrow() for name, query in asked.items()}
    tables["orientation"] = orientation_table(tables["orientation"])
    tables["networks"] = with_formation(tables["networks"], tables["kernels"])
    tables["kernels"] = kernels_table(tables["kernels"])
    (counts,) = atlas.sql(questions.COUNTS).to_arrow().to_pylist()
    not_numbers = tuple(name for name in others if name.lower() != "architecture")
    about = {row["source"]: {field.name: row[field.name] for field in brought} for row in networks.to_pylist()}
    return AtlasSummary(tables, counts, about, tuple(metadata), not_numbers)


def _is_number(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal))


def _label(column: str) -> str:
    """Return the name of a column of metadata in the table of networks, which has statistics of its own.

    SQL does not tell capitals.
    """
    return f"{column} (metadata)" if column.lower() in {*STATISTICS, "architecture"} else column
