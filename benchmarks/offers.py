"""Each offer of the check-up, followed and measured.

    OMP_NUM_THREADS=1 python benchmarks/offers.py mcunet --threads 1
    OMP_NUM_THREADS=1 python benchmarks/offers.py cifar --threads 1
    OMP_NUM_THREADS=1 python benchmarks/offers.py extremec3 --threads 1
    OMP_NUM_THREADS=1 python benchmarks/offers.py lkdn --threads 1

Each section checks a network, follows what the advice offers by the public functions that its commands call, and puts
into one table what that saves, what the network computes before and after, and how long it takes. The figures go into
``results/offers.json``.
"""

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS
from offers_sections import subjects
from offers_sections.followed import Followed
from offers_sections.ways import UNOFFERED

SECTIONS: dict[str, Section] = {
    "mcunet": Followed("MCUNet", subjects.of_mcunet),
    "cifar": Followed("builtin:cifar-convnext", subjects.of_cifar, unoffered=UNOFFERED),
    "extremec3": Followed("ExtremeC3", lambda: subjects.of_extremec3(100)),
    "lkdn": Followed("LKDN x4", lambda: subjects.of_lkdn(75), beside=lambda: subjects.against_bicubic(25)),
}
"""A new section is one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("offers.json"))
