"""How fast ``sk.fit`` is, how exact, and how much memory it needs.

    python benchmarks/fit.py speed ../shared/weights/mcunet-320kb-1mb_imagenet.pth
    python benchmarks/fit.py baselines ../shared/weights/mcunet-320kb-1mb_imagenet.pth
    python benchmarks/fit.py exactness ../shared/weights/*.pth --processes 2
    python benchmarks/fit.py recovery
    python benchmarks/fit.py selection ../shared/weights/*.pth
    python benchmarks/fit.py discretizations ../shared/zoo/edgeface_xs_q.pt ../shared/zoo/ntire23_06_hcan.pth
    python benchmarks/fit.py jets ../shared/weights/mcunet-320kb-1mb_imagenet.pth
    python benchmarks/fit.py memory
    python benchmarks/fit.py gpu

Each section prints its tables, and replaces its own part of ``results/fit.json``, with the machine, the versions and
the options of its run beside the figures. Speed is a ratio within one run; the unit is one float32 product of all
filters with 1,008 vectors. Every section explains itself with ``--help``.
"""

from fit_sections import baselines, discretizations, exactness, gpu, jets, memory, recovery, selection, speed
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS

SECTIONS: dict[str, Section] = {
    "speed": speed,
    "baselines": baselines,
    "exactness": exactness,
    "recovery": recovery,
    "selection": selection,
    "discretizations": discretizations,
    "jets": jets,
    "memory": memory,
    "gpu": gpu,
}
"""A new section is one module and one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS)
