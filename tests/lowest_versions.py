"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path


def constraints(project: dict) -> list[str]:
    """Return ``name==version`` for each dependency and optional dependency with a lower bound."""
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    bounds = [found.groups() for group in groups for one in group if (found := re.match(r"([\w-]+)>=([\d.]+)$", one))]
    highest = {name: max((v for other, v in bounds if other == name), key=_numbers) for name, _ in bounds}
    return [f"{name}=={version}" for name, version in sorted(highest.items())]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    sys.stdout.write("\n".join(constraints(project)) + "\n")
