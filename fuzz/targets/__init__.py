"""The table of targets. A new one is a row in the module of its kind."""

from fuzz.case import Target
from fuzz.targets import graphs, tables, torch_files, weights

TARGETS: dict[str, Target] = {
    target.name: target for target in (*weights.TARGETS, *torch_files.TARGETS, *graphs.TARGETS, *tables.TARGETS)
}
"""All targets by name."""
