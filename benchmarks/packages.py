"""Whether the networks that packages for Python and JavaScript carry are read right.

    python benchmarks/packages.py FOLDER

FOLDER has a folder for each package of ``results/packages.csv``, called PACKAGE-VERSION, in which its archive is
unpacked; packages that it lacks are passed over. The list tells of each network what its graph or its code says, found
without scalekeys: how many depthwise layers and kernels there are, the sum of their values, and the sum of the values
times their places in a kernel, from 1 on. A file of a format that is not read has no figures: one sentence must name
its format.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    with LIST.open(newline="") as file:
        for row in csv.DictReader(file):
            path = folder / f"{row['package']}-{row['version']}" / row["file"]
            if not path.is_file():
                continue
            wrong = fault(row, path)
            found = (1, int(row["layers"] not in ("", "0")), int(not wrong))
            counts[row["format"]] = [a + b for a, b in zip(counts[row["format"]], found, strict=True)]
            if wrong:
                print(f"{row['package']}: {wrong}")
    names = ("networks", "with depthwise layers", "read right")
    table(
        "networks of packages", [{"format": kind} | dict(zip(names, row, strict=True)) for kind, row in counts.items()]
    )


if __name__ == "__main__":
    main()
