"""Receptive fields of thousands of checkpoints: built by many workers into Parquet tables, and asked in SQL.

The names load on first use: questions need no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalekeys.atlas.building import Summary, build
    from scalekeys.atlas.exporting import Export, export
    from scalekeys.atlas.merging import merge
    from scalekeys.atlas.queries import NAMED
    from scalekeys.atlas.reading import Answer, Atlas
    from scalekeys.atlas.reading import open_atlas as open  # noqa: A004 (as `sk.atlas.open`)
    from scalekeys.atlas.references import Reference, expand

_HOMES = {
    "building": "Summary build",
    "exporting": "Export export",
    "merging": "merge",
    "queries": "NAMED",
    "reading": "Answer Atlas open_atlas",
    "references": "Reference expand",
}
_HOME_OF = {name: f"scalekeys.atlas.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "NAMED",
    "Answer",
    "Atlas",
    "Export",
    "Reference",
    "Summary",
    "build",
    "expand",
    "export",
    "merge",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'scalekeys.atlas' has no attribute {name!r}")
    name = "open_atlas" if name == "open" else name
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
