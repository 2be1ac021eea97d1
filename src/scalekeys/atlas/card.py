"""The data card of an export: what the tables are, in words for people and in a head for the Hugging Face hub."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import pyarrow as pa

from scalekeys.atlas.columns import column_rows, type_name
from scalekeys.atlas.layout import Settings
from scalekeys.atlas.schema import FILTERS
from scalekeys.errors import printable
from scalekeys.version import __version__

MOST_LISTED = 500
"""The most networks that the card lists with their licences; the table `networks` has all."""

_LICENCES, _ORIGINS = ("licence", "license"), ("origin", "url", "homepage")
_TITLES = {
    "filters": "one row a filter",
    "networks": "one row a source that was read, and columns of metadata",
    "failures": "one row a source that could not be read, and columns of metadata",
    "left_out": "one row a tensor or layer that looks like a kernel and was not read",
}
_SIZES = (("K", 3), ("M", 6), ("B", 9), ("T", 12))


@dataclass(frozen=True)
class Facts:
    """What a card says."""

    settings: Settings
    tables: Mapping[str, pa.Table]
    """Of networks, failures and what was left out."""
    filters: int
    parts: int
    """`filters` and `parts`: number of filters, and of their files."""
    software: tuple[str, ...]
    """Versions of scalekeys that fitted filters."""
    keep_paths: bool = False
    """Whether paths are written as they were given."""
    licence: str | None = None
    """Of the tables."""


def card(facts: Facts) -> str:
    """Return the text of the card."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(json=partial(json.dumps, ensure_ascii=False), cell=_cell)  # JSON is YAML too
    template = resources.files("scalekeys.atlas").joinpath("templates", "card.md.j2").read_text(encoding="utf-8")
    schemas = {"filters": FILTERS} | {name: table.schema for name, table in facts.tables.items()}
    rows = {"filters": facts.filters} | {name: len(table) for name, table in facts.tables.items()}
    networks = facts.tables["networks"]
    return environment.from_string(template).render(
        facts=facts,
        version=__version__,
        size=size_category(facts.filters),
        titles=_TITLES,
        rows=rows,
        features={name: [_feature(field) for field in schema] for name, schema in schemas.items() if rows[name]},
        columns={name: column_rows(name, schema) for name, schema in schemas.items()},
        different=len(set(networks["content_hash"].to_pylist())),
        sources=_sources(networks),
        most=MOST_LISTED,
        failures=_counted(facts.tables["failures"]["error"].to_pylist()),
        left_out=_counted(facts.tables["left_out"]["reason"].to_pylist()),
    )


def size_category(rows: int) -> str:
    """Return the word of the hub for a number of rows.

    >>> size_category(8), size_category(182_179), size_category(10**8)
    ('n<1K', '100K<n<1M', '100M<n<1B')
    """
    bounds = [(f"{10**power}{letter}", 10 ** (exponent + power)) for letter, exponent in _SIZES for power in range(3)]
    below = next((place for place, (_, bound) in enumerate(bounds) if rows < bound), len(bounds))
    if below == 0:
        return "n<1K"
    return f"{bounds[below - 1][0]}<n<{bounds[below][0]}" if below < len(bounds) else f"n>{bounds[-1][0]}"


def _sources(networks: pa.Table) -> dict[str, Any]:
    """Return licence and origin of each source as far as the metadata have them, and how many have each licence."""
    licence, origin = (_column(networks, names) for names in (_LICENCES, _ORIGINS))
    return {
        "rows": list(zip(networks["source"].to_pylist(), licence, origin, strict=True)),
        "licences": _counted([word or "not stated" for word in licence]),
        "stated": any(licence),
    }


def _column(table: pa.Table, names: Sequence[str]) -> list[str]:
    """Return the first column of such a name as words, in any capitals; empty words where there is none."""
    found = [name for wanted in names for name in table.column_names if name.casefold() == wanted]
    words = table[found[0]].cast(pa.string()).to_pylist() if found else [None] * len(table)
    return [word or "" for word in words]


def _counted(words: Sequence[str]) -> list[tuple[str, int]]:
    """Return each word with how often it comes, most frequent first."""
    return sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))


def _feature(field: pa.Field) -> dict[str, str]:
    """Return a column as the head of a card names it."""
    if pa.types.is_list(field.type):
        return {"name": field.name, "list": type_name(field.type.value_type)}
    return {"name": field.name, "dtype": type_name(field.type)}


def _cell(text: str) -> str:
    """Return a text for a cell of a table in Markdown."""
    return re.sub(r"[\\|`*\[]", r"\\\g<0>", printable(text).replace("&", "&amp;").replace("<", "&lt;"))
