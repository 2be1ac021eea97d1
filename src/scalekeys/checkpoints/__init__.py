"""Files and hubs to filter banks: each source is opened into one shape, and its depthwise layers are read."""

from scalekeys.checkpoints.checkpoint import Checkpoint, DepthwiseLayer
from scalekeys.checkpoints.filter_file import read_filters, write_filters
from scalekeys.checkpoints.inventory import TensorInfo
from scalekeys.checkpoints.source import extract, open_source

__all__ = [
    "Checkpoint",
    "DepthwiseLayer",
    "TensorInfo",
    "extract",
    "open_source",
    "read_filters",
    "write_filters",
]
