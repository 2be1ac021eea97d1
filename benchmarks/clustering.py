"""How well ``sk.cluster`` finds keys, how fast, and beside what else does it.

    python benchmarks/clustering.py planted
    python benchmarks/clustering.py choice
    python benchmarks/clustering.py real ../shared/weights/*.pth
    python benchmarks/clustering.py comparison ../shared/weights/*.pth
    python benchmarks/clustering.py million
    python benchmarks/clustering.py elimination --keep FOLDER
    python benchmarks/clustering.py universal ../shared/zoo/zoo.csv

Each section prints its tables, and replaces its own part of ``results/clustering.json``, with the machine, the versions
and the options of its run beside the figures. Every section explains itself with ``--help``.
"""

from clustering_sections import choice, comparison, elimination, million, planted, real, universal
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS

SECTIONS: dict[str, Section] = {
    "planted": planted,
    "choice": choice,
    "real": real,
    "comparison": comparison,
    "million": million,
    "elimination": elimination,
    "universal": universal,
}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("clustering.json"))
