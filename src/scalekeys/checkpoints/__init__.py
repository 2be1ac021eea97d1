"""Files and hubs to filter banks, and back: a source is opened into one shape, read, and copied with other filters.

The names below load on first use: paths are looked at (:mod:`scalekeys.checkpoints.sources.paths`) without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer
    from scalekeys.checkpoints.core.inventory import TensorInfo
    from scalekeys.checkpoints.filter_file import read_filters, write_filters
    from scalekeys.checkpoints.loading import load_into
    from scalekeys.checkpoints.sources.source import extract, open_source
    from scalekeys.checkpoints.writing import check_copy, check_same_layers, write_copy, write_replaced

_HOMES = {
    "core.checkpoint": "Checkpoint ConvolutionLayer",
    "core.inventory": "TensorInfo",
    "filter_file": "read_filters write_filters",
    "loading": "load_into",
    "sources.source": "extract open_source",
    "writing": "check_copy check_same_layers write_copy write_replaced",
}
_HOME_OF = {name: f"scalekeys.checkpoints.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Checkpoint",
    "ConvolutionLayer",
    "TensorInfo",
    "check_copy",
    "check_same_layers",
    "extract",
    "load_into",
    "open_source",
    "read_filters",
    "write_copy",
    "write_filters",
    "write_replaced",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'scalekeys.checkpoints' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
