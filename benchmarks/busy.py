"""How much longer the commands take beside a process that keeps a processor busy.

    python benchmarks/busy.py ../shared/weights/mcunet-320kb-1mb_imagenet.pth

Each job is done in fresh processes, by turns on the machine as it is and beside a busy loop; the figures are medians of
wall time and of the processor time of the user, and the ratios are those of the medians. Other work on the machine
counts too, so that the load is written down. Results are printed and saved as JSON beside this file.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fit_sections.command import SCALEKEYS
from fit_sections.record import machine, save, table, versions

RESULTS = Path(__file__).parent / "results" / "busy.json"

_BUSY_LOOP = "while True: pass"
_CHECKPOINTS = 4
_MAKE_CHECKPOINT = """
import sys, torch
from torch import nn
torch.manual_seed(int(sys.argv[2]))
layers = [nn.Conv2d(400, 400, side, groups=400) for side in (3, 5, 7)]
torch.save(nn.Sequential(*layers).state_dict(), sys.argv[1])
"""
_FIT_IN_NETWORK = """
import torch
from torch import nn
import scalekeys as sk
torch.manual_seed(0)
blocks = [nn.Sequential(nn.Conv2d(32, 32, 5, padding=2, groups=32), nn.Conv2d(32, 32, 1), nn.ReLU()) for _ in range(4)]
network = nn.Sequential(nn.Conv2d(3, 32, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
sk.fit_in_network(network, torch.randn(40, 3, 32, 32).split(8), "jet1")
"""


def jobs(source: str, folder: Path) -> dict[str, list[str]]:
    """Return the command of each job; what these read is made in a folder."""
    nets = folder / "nets"
    nets.mkdir()
    for number in range(_CHECKPOINTS):
        command = [sys.executable, "-c", _MAKE_CHECKPOINT, str(nets / f"{number}.pt"), str(number)]
        subprocess.run(command, check=True)
    build = [*SCALEKEYS, "atlas", "build", str(nets / "*.pt"), "-o", "{out}"]
    return {
        "analyze": [*SCALEKEYS, "analyze", source, "-o", "{out}"],
        "keys": [*SCALEKEYS, "keys", source, "-o", "{out}"],
        "atlas build, 1 worker": [*build, "--workers", "1"],
        "atlas build, 2 workers": [*build, "--workers", "2"],
        "fit_in_network": [sys.executable, "-c", _FIT_IN_NETWORK],
    }


@contextmanager
def busy_loop() -> Iterator[None]:
    """Keep one processor busy, whichever the system chooses."""
    process = subprocess.Popen([sys.executable, "-c", _BUSY_LOOP])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(command: list[str]) -> tuple[float, float]:
    """Return the wall seconds of a process, and the processor seconds of the user with its children."""
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("{out}", f"{folder}/out") for word in command]
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return wall, usage.ru_utime


def compared(command: list[str], repeats: int) -> dict[str, float]:
    """Measure a job by turns, quiet and busy."""
    quiet, busy = [], []
    for _ in range(repeats):
        quiet.append(measured(command))
        with busy_loop():
            busy.append(measured(command))
    (wall, user), (busy_wall, busy_user) = (
        [statistics.median(column) for column in zip(*runs, strict=True)] for runs in (quiet, busy)
    )
    return {
        "quiet_s": wall,
        "busy_s": busy_wall,
        "ratio": busy_wall / wall,
        "quiet_user_s": user,
        "busy_user_s": busy_user,
        "user_ratio": busy_user / user,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file")
    arguments = parser.parse_args()
    header: dict[str, Any] = {"machine": machine(), "versions": versions(), "repeats": arguments.repeats}
    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        for name, command in jobs(arguments.source, Path(folder)).items():
            rows[name] = compared(command, arguments.repeats)
            table(name, [rows[name]])
    header["load_at_end"] = round(os.getloadavg()[0], 2)
    save("busy", header | {"source": Path(arguments.source).name, "jobs": rows}, arguments.output)


if __name__ == "__main__":
    main()
