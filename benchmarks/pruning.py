"""What dead filters cost: networks before and after ``sk.prune_dead``.

    python benchmarks/pruning.py mcunet --threads 1
    python benchmarks/pruning.py sgz --threads 1
    python benchmarks/pruning.py extremec3 --threads 1

Each section prints its tables, and replaces its own part of ``results/pruning.json``, with the machine, the versions
and the options of its run beside the figures. Every section explains itself with ``--help``.
"""

from torch import Tensor

import mcunet
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS
from pruning_sections.pruned import Pruned
from zoo_networks import extremec3, sgz

_DARK = 0.2


def _darkened(images: Tensor) -> Tensor:
    """Darken images for a network that brightens them."""
    return _DARK * images


def _centred(images: Tensor) -> Tensor:
    return (images - 0.5) / 0.5


SECTIONS: dict[str, Section] = {
    "mcunet": Pruned("MCUNet", lambda: mcunet.build(checkpoint=mcunet.CHECKPOINT), (176, 176), _centred),
    "sgz": Pruned("SGZ", lambda: sgz.build(sgz.CHECKPOINT), (176, 48), _darkened),
    "extremec3": Pruned("ExtremeC3", lambda: extremec3.build(extremec3.CHECKPOINT), (224, 64), _centred),
}
"""A new section is one row here."""

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("pruning.json"))
