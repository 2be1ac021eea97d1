"""How fast ``sk.fit`` is, how exact, and how much memory it needs.

    python benchmarks/fit.py speed ../shared/weights/mcunet-320kb-1mb_imagenet.pth
    python benchmarks/fit.py baselines ../shared/weights/mcunet-320kb-1mb_imagenet.pth
    python benchmarks/fit.py exactness ../shared/weights/*.pth --processes 2
    python benchmarks/fit.py recovery
    python benchmarks/fit.py selection ../shared/weights/*.pth
    python benchmarks/fit.py memory
    python benchmarks/fit.py gpu

Each section prints its tables, and replaces its own part of ``results/fit.json``, with the machine, the versions and
the options of its run beside the figures. Speed is a ratio within one run; the unit is one float32 product of all
filters with 1,008 vectors. Every section explains itself with ``--help``.
"""

import argparse
from pathlib import Path
from typing import Any, Protocol

import torch

from fit_sections import baselines, exactness, gpu, memory, recovery, selection, speed
from fit_sections.record import RESULTS, machine, save, versions


class Section(Protocol):
    """What a module of ``fit_sections`` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the section."""

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Measure, and return what goes into the JSON file."""

    def show(self, results: dict[str, Any]) -> None:
        """Print tables."""


SECTIONS: dict[str, Section] = {
    "speed": speed,
    "baselines": baselines,
    "exactness": exactness,
    "recovery": recovery,
    "selection": selection,
    "memory": memory,
    "gpu": gpu,
}
"""A new section is one module and one row here."""


def main() -> None:
    arguments = _parsed()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    section = SECTIONS[arguments.section]
    header = {"machine": machine(), "versions": versions(), "options": _options(arguments)}
    results = section.run(arguments)
    if results:
        save(arguments.section, header | results, arguments.output)
    section.show(results)


def _parsed() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    verbs = parser.add_subparsers(dest="section", required=True)
    for name, section in SECTIONS.items():
        verb = verbs.add_parser(name, help=section.HELP, description=section.__doc__, formatter_class=formatter)
        section.add_arguments(verb)
        verb.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 leaves its default")
        verb.add_argument("--output", type=Path, default=RESULTS, help="the JSON file")
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options without folders."""
    options = {name: value for name, value in vars(arguments).items() if name not in ("section", "output")}
    if "sources" in options:
        options["sources"] = [Path(source).name for source in options["sources"]]
    return options


if __name__ == "__main__":
    main()
