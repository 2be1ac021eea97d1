"""What it costs to replace, constrain and compress the depthwise filters of networks.

    python benchmarks/surgery.py step --threads 1
    python benchmarks/surgery.py mcunet --threads 1
    python benchmarks/surgery.py budget --threads 1
    python benchmarks/surgery.py in-network --threads 1

Each section prints its tables, and replaces its own part of ``results/surgery.json``, with the machine, the versions
and the options of its run beside the figures. Every section explains itself with ``--help``.
"""

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS
from surgery_sections import budget, in_network, step
from surgery_sections.halves import Halves
from surgery_sections.models import Models

SECTIONS: dict[str, Section] = {
    "step": step,
    "mcunet": Models("MCUNet", Halves.of_mcunet),
    "budget": budget,
    "in-network": in_network,
}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("surgery.json"))
