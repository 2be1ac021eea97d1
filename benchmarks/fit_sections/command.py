"""The command line of a benchmark that consists of sections."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from fit_sections.record import machine, save, versions

SCALEKEYS = (sys.executable, "-c", "from scalekeys.cli import main; main()")
"""The command line of the package, in a process of its own."""


class Section(Protocol):
    """What a module of ``fit_sections`` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the section."""

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Measure, and return what goes into the JSON file."""

    def show(self, results: dict[str, Any]) -> None:
        """Print tables."""


def run_section(description: str | None, sections: Mapping[str, Section], output: Path) -> None:
    """Run the section that the arguments name, save what it measures, if anything, and show it."""
    arguments = _parsed(description, sections, output)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    section = sections[arguments.section]
    header = {"machine": machine(), "versions": versions(), "options": _options(arguments)}
    results = section.run(arguments)
    if results:
        save(arguments.section, header | results, arguments.output)
    section.show(results)


def _parsed(description: str | None, sections: Mapping[str, Section], output: Path) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    verbs = parser.add_subparsers(dest="section", required=True)
    for name, section in sections.items():
        verb = verbs.add_parser(name, help=section.HELP, description=section.__doc__, formatter_class=formatter)
        section.add_arguments(verb)
        verb.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 leaves its default")
        verb.add_argument("--output", type=Path, default=output, help="the JSON file")
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options, files and folders by their names alone."""
    options = vars(arguments).items()
    return {name: _without_folder(value) for name, value in options if name not in ("section", "output", "keep")}


def _without_folder(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_folder(part) for part in value]
    is_path = isinstance(value, Path) or (isinstance(value, str) and Path(value).exists())
    return Path(value).name if is_path else value
