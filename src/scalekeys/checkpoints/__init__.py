"""Files and hubs to filter banks, and back: a source is opened into one shape, read, and copied with other filters."""

from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.filter_file import read_filters, write_filters
from scalekeys.checkpoints.loading import load_into
from scalekeys.checkpoints.sources.source import extract, open_source
from scalekeys.checkpoints.writing import check_copy, check_same_layers, write_copy, write_replaced

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
