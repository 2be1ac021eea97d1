"""Whether the networks that packages for Python and JavaScript carry are read right.

    python benchmarks/packages.py FOLDER
    python benchmarks/packages.py FOLDER --list packages.csv   # instead writes a list for `scalekeys atlas build`

FOLDER has a folder for each package of ``results/packages.csv``, called PACKAGE-VERSION, in which its archive is
unpacked; packages that it lacks are passed over. The list tells of each network what its graph or its code says, found
without scalekeys: how many depthwise layers and kernels there are, the sum of their values, and the sum of the values
times their places in a kernel, from 1 on. A file of a format that is not read has no figures: one sentence must name
its format. A network with an architecture belongs to the list for an atlas; those whose weights, or whose smaller or
larger versions, are among the 103 published networks of the findings have none.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping
from math import isclose
from pathlib import Path

import torch

import scalekeys as sk
from fit_sections.record import table

LIST = Path(__file__).parent / "results" / "packages.csv"
NOT_READ = ", a format that is not read; "
NONE = "has no depthwise layers to read; "


def figures(path: Path) -> dict[str, float]:
    """Return what is read of a file in the terms of the list."""
    layers = [layer.kernels.double().flatten(1) for layer in sk.extract(path).layers]
    places = [torch.arange(1, taps.shape[1] + 1, dtype=torch.float64) for taps in layers]
    return {
        "layers": len(layers),
        "kernels": sum(map(len, layers)),
        "sum": sum(float(taps.sum()) for taps in layers),
        "moment": sum(float(taps.sum(0) @ place) for taps, place in zip(layers, places, strict=True)),
    }


def fault(row: Mapping[str, str], path: Path) -> str:
    """Say how the reading of a file differs from its row in the list; empty if it does not."""
    try:
        found = figures(path)
    except sk.ScaleKeysError as error:
        said = NONE if row["layers"] == "0" else NOT_READ if not row["layers"] else None
        return "" if said and said in str(error) else str(error)
    differ = [
        key for key, value in found.items() if not isclose(value, float(row[key] or 0), rel_tol=1e-4, abs_tol=0.01)
    ]
    return ", ".join(f"{key} {found[key]:.6g} in place of {row[key]}" for key in differ)


def networks(folder: Path) -> list[tuple[dict[str, str], Path]]:
    """Return the rows of the list whose files are there, and these files."""
    with LIST.open(newline="") as file:
        rows = [(row, folder / f"{row['package']}-{row['version']}" / row["file"]) for row in csv.DictReader(file)]
    return [(row, path) for row, path in rows if path.is_file()]


def check(folder: Path) -> None:
    """Print how many networks of each format are read right, and what is wrong with others."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row, path in networks(folder):
        wrong = fault(row, path)
        found = (1, int(row["layers"] not in ("", "0")), int(not wrong))
        counts[row["format"]] = [a + b for a, b in zip(counts[row["format"]], found, strict=True)]
        if wrong:
            print(f"{row['package']}: {wrong}")
    names = ("networks", "with depthwise layers", "read right")
    table(
        "networks of packages", [{"format": kind} | dict(zip(names, row, strict=True)) for kind, row in counts.items()]
    )


def write_list(folder: Path, output: Path) -> None:
    """Write a list of the networks with an architecture, for an atlas."""
    with output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("source", "architecture", "task", "origin"))
        for row, path in networks(folder):
            if row["architecture"]:
                origin = f"{row['package']} {row['version']}"
                writer.writerow((path.absolute(), row["architecture"], row["task"], origin))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--list", type=Path, help="write a list for an atlas to this file")
    arguments = parser.parse_args()
    if arguments.list:
        write_list(arguments.folder, arguments.list)
    else:
        check(arguments.folder)
