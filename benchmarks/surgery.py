"""What it costs to replace, constrain and compress the depthwise filters of networks.

    python benchmarks/surgery.py step --threads 1
    python benchmarks/surgery.py models --threads 2
    python benchmarks/surgery.py budget --threads 2

Each section prints its tables, and replaces its own part of ``results/surgery.json``, with the machine, the versions
and the options of its run beside the figures. Every section explains itself with ``--help``.
"""

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS
from surgery_sections import budget, models, step

SECTIONS: dict[str, Section] = {
    "step": step,
    "models": models,
    "budget": budget,
}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("surgery.json"))
