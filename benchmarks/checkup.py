"""How often the audits of the check-up find something, in published networks and in noise in their place.

    OMP_NUM_THREADS=1 python benchmarks/checkup.py networks
    OMP_NUM_THREADS=1 python benchmarks/checkup.py noise
    OMP_NUM_THREADS=1 python benchmarks/checkup.py time

``networks``: the files of ``../shared/zoo``. ``noise``: matched and white noise in the place of the filters of every
fifth of them, and of those of which the strides and the size of the inputs are known; no audit but *not-formed* should
say anything of it that is due to chance; dead and unreadable filters stay what they are in noise. ``time``: the command
as a user runs it, on MCUNet and on a file of 100 MB. The figures go into ``results/checkup.json``.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import torch
from torch import Tensor

import busy
import mcunet
import scalekeys as sk
from fit_sections.command import SCALEKEYS, Section, run_section
from fit_sections.record import RESULTS, Progress, table
from scalekeys.checkup import Checkup
from scalekeys.checkup.audits import AUDITS
from scalekeys.errors import ScaleKeysError
from scalekeys.filters import FilterBank
from scalekeys.shapes import Size

ZOO = Path(__file__).resolve().parents[2] / "shared" / "zoo"
CONTROLS = {"matched": sk.matched_noise_like, "white": sk.white_noise_like}
SIZES = {"ppocrv2_cls.onnx": (48, 192), "ppocrv4_det.onnx": (640, 640)}
"""Inputs of the networks that take any size: those for which PaddleOCR configures them."""
MEGABYTES = 100
FORMED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mcunet", "mbv2", "proxyless")
"""Networks trained at length on ImageNet, of which an alarm would most likely be false."""


def run_networks(arguments: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for path, bank, size in _banks(arguments.every):
        start = time.process_time()
        checkup = sk.check(path, size=size)  # the file, since a bank holds no batch norms
        seconds = round(time.process_time() - start, 2)
        rows.append({"network": path.name, "filters": len(bank), "sizes": len(bank.sizes), "seconds": seconds})
        rows[-1] |= _row(checkup)
    formed = [row for row in rows if row["network"].startswith(FORMED)]
    counts = {"networks": rows, "well_trained": formed}
    return {"networks": len(rows), "audits": _table(counts), "rows": rows}


def run_noise(arguments: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {control: [] for control in CONTROLS}
    for path, bank, size in _banks(arguments.every):
        for control, like in CONTROLS.items():
            rows[control].append({"network": path.name} | _row(sk.check(like(bank, seed=1), size=size)))
    return {"networks": len(rows["matched"]), "audits": _table(rows), "rows": rows}


def run_time(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / f"{MEGABYTES}_megabytes.pth"
        torch.save(_large_network(), large)
        for path in (mcunet.CHECKPOINT, large):
            command = [*SCALEKEYS, "check", str(path)]
            wall, user = (
                min(one) for one in zip(*(busy.measured(command) for _ in range(arguments.runs)), strict=True)
            )
            bank, megabytes = sk.extract(path), path.stat().st_size / 1e6
            row = {"file": path.name, "megabytes": round(megabytes, 1), "filters": len(bank)}
            rows.append(row | {"wall_seconds": round(wall, 2), "processor_seconds": round(user, 2)})
    return {"rows": rows}


def _large_network() -> dict[str, Tensor]:
    """Return random weights of blocks of a depthwise and a pointwise layer, of 100 MB."""
    generator, width = torch.Generator().manual_seed(0), 512
    block = {"depthwise": (width, 1, 7, 7), "expand": (4 * width, width, 1, 1), "project": (width, 4 * width, 1, 1)}
    count = round(MEGABYTES * 1e6 / 4 / (width * 49 + 8 * width**2))
    return {
        f"blocks.{number}.{name}.weight": 0.05 * torch.randn(shape, generator=generator)
        for number in range(count)
        for name, shape in block.items()
    }


def _row(checkup: Checkup) -> dict[str, Any]:
    found = {advice.name: round(advice.share, 4) for advice in checkup.advice}
    return {"audits": list(checkup.audits), "found": found, "first": [advice.what for advice in checkup.advice[:3]]}


def _table(groups: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Count in how many networks of each group an audit finds something, of those in which it could be made."""
    return [{"audit": name} | {group: _count(rows, name) for group, rows in groups.items()} for name in AUDITS]


def _count(rows: list[dict[str, Any]], audit: str) -> str:
    found: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for row in rows:
        found.update(list(row["found"]))
        made.update(row["audits"])
    return f"{found[audit]} of {made[audit]}"


def _banks(every: int) -> Iterator[tuple[Path, FilterBank, Size | None]]:
    """Give some networks of the zoo, and all whose inputs have a known size, with that size, if they can be read."""
    found = sorted(path for path in ZOO.iterdir() if path.is_file() and path.suffix != ".csv")
    paths = [path for index, path in enumerate(found) if index % every == 0 or _size(path) is not None]
    progress = Progress("networks", len(paths))
    for path in paths:
        try:
            yield path, sk.extract(path), _size(path)
        except ScaleKeysError as error:
            print(f"{path.name}: {error}")
        progress.advance(1)


def _size(path: Path) -> Size | None:
    """Return the sides of the inputs that a file names, or those that its publisher does."""
    if path.suffix != ".onnx" or path.name in SIZES:
        return SIZES.get(path.name)
    sides = [side.dim_value for side in onnx.load(path).graph.input[0].type.tensor_type.shape.dim[2:]]
    return tuple(sides) if sides and min(sides) > 0 else None


def _show(results: dict[str, Any]) -> None:
    table(f"networks in which an audit finds something, of {results['networks']}", results["audits"])


def _show_time(results: dict[str, Any]) -> None:
    table("scalekeys check, as a process of its own", results["rows"])


def _with_every(every: int) -> Any:
    return lambda parser: parser.add_argument("--every", type=int, default=every, help="take every so many-th file")


def _with_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest counts")


SECTIONS: dict[str, Section] = {
    "networks": SimpleNamespace(HELP="published networks", add_arguments=_with_every(1), run=run_networks, show=_show),
    "noise": SimpleNamespace(HELP="noise instead", add_arguments=_with_every(5), run=run_noise, show=_show),
    "time": SimpleNamespace(HELP="seconds of the command", add_arguments=_with_runs, run=run_time, show=_show_time),
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("checkup.json"))
