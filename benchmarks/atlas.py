"""How fast an atlas is built, beside the bare fits, and what it needs with many filters, workers and engines.

    python benchmarks/atlas.py throughput
    python benchmarks/atlas.py scaling --sizes 10000 100000 1000000
    python benchmarks/atlas.py engines --engines here 1 2 ray
    python benchmarks/atlas.py zoo --real MODEL.pth ... --keep DIR
    python benchmarks/atlas.py ranges --gaps 0 65536 1048576

The checkpoints are made from architectures of timm, with idealized filters and noise for depthwise weights. Each
section prints its tables, and replaces its own part of ``results/atlas.json``, with the machine, the versions and the
options of its run beside the figures. Every section explains itself with ``--help``.
"""

from atlas_sections import engines, ranges, scaling, throughput, zoo
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS

SECTIONS: dict[str, Section] = {
    "throughput": throughput,
    "scaling": scaling,
    "engines": engines,
    "zoo": zoo,
    "ranges": ranges,
}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("atlas.json"))
