"""Time and memory of ``scalekeys analyze`` as a user runs it, and what it finds in real networks.

    python benchmarks/analyze.py ../shared/weights/*.pth

Each network is analysed in a fresh process, several times; the figures are medians. The share of the wall time that
importing PyTorch alone takes is measured in the same run, since no analysis can be faster. Results are printed and
saved as JSON beside this file.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "analyze.json"
_FIGURES = ("filters", "median_r2", "matched_median_r2", "white_median_r2")


def run(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak memory in MiB, and standard output of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, output


def analyse(source: str, repeats: int) -> dict[str, Any]:
    walls, peaks, summary = [], [], {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            verb = ["analyze", source, "-o", f"{folder}/out", "--json"]
            wall, peak, output = run([sys.executable, "-c", "from scalekeys.cli import main; main()", *verb])
            walls.append(wall)
            peaks.append(peak)
            summary = json.loads(output)
    return {
        "wall_s": statistics.median(walls),
        "wall_s_range": [min(walls), max(walls)],
        "peak_mib": statistics.median(peaks),
        "filters": summary["quality"]["filters"],
        "share_explained": summary["quality"]["share_explained"],
        "white_share_explained": summary["quality"]["white_share_explained"],
        "matched_share_explained": summary["quality"]["matched_share_explained"],
        "sizes": {row["size"]: {key: row["quality"][key] for key in _FIGURES} for row in summary["sizes"]},
        "families": {row["family"]: row["filters"] for row in summary["families"]},
        "statuses": summary["statuses"],
        "dead": summary["dead"],
        "notes": summary["notes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    imports = [run([sys.executable, "-c", "import torch"])[0] for _ in range(arguments.repeats)]
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("scalekeys", "torch", "numpy")},
        "import_torch_s": statistics.median(imports),
        "networks": {Path(source).name: analyse(source, arguments.repeats) for source in arguments.sources},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
