"""How well ``sk.cluster`` finds keys, how fast, and beside what else does it.

    python benchmarks/clustering.py planted
    python benchmarks/clustering.py choice
    python benchmarks/clustering.py real ../shared/weights/*.pth
    python benchmarks/clustering.py comparison ../shared/weights/*.pth
    python benchmarks/clustering.py million

Each section prints its tables, and replaces its own part of ``results/clustering.json``, with the machine, the versions
and the options of its run beside the figures. Every section explains itself with ``--help``.
"""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from clustering_sections import choice, comparison, million, planted, real
from fit_sections.record import machine, save, versions

RESULTS = Path(__file__).parent / "results" / "clustering.json"


class Section(Protocol):
    """What a module of ``clustering_sections`` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the section."""

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Measure, and return what goes into the JSON file."""

    def show(self, results: dict[str, Any]) -> None:
        """Print tables."""


SECTIONS: dict[str, Section] = {
    "planted": planted,
    "choice": choice,
    "real": real,
    "comparison": comparison,
    "million": million,
}
"""A new section is one module and one row here."""


def main() -> None:
    arguments = _parsed()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    section = SECTIONS[arguments.section]
    known = versions() | {"scikit-learn": version("scikit-learn")}
    header = {"machine": machine(), "versions": known, "options": _options(arguments)}
    results = section.run(arguments)
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
