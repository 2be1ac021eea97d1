"""Whether the formation figure can be believed: what it says where the truth is known.

    python benchmarks/formation.py initialisers
    python benchmarks/formation.py mixtures ../shared/weights/*.pth
    python benchmarks/formation.py networks ../shared/zoo

Each section prints its tables, and replaces its own part of ``results/formation.json``. Every section explains itself
with ``--help``.
"""

from pathlib import Path

from fit_sections.command import Section, run_section
from formation_sections import initialisers, mixtures, networks

RESULTS = Path(__file__).parent / "results" / "formation.json"

SECTIONS: dict[str, Section] = {"initialisers": initialisers, "mixtures": mixtures, "networks": networks}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS)
