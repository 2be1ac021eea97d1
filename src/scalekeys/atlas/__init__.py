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
    "NAMED": ("queries", "NAMED"),
    "Answer": ("reading", "Answer"),
    "Atlas": ("reading", "Atlas"),
    "Export": ("exporting", "Export"),
    "Reference": ("references", "Reference"),
    "Summary": ("building", "Summary"),
    "build": ("building", "build"),
    "expand": ("references", "expand"),
    "export": ("exporting", "export"),
    "merge": ("merging", "merge"),
    "open": ("reading", "open_atlas"),
}

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
    if name not in _HOMES:
        raise AttributeError(f"module 'scalekeys.atlas' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"scalekeys.atlas.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
