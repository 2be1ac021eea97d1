"""How often the audits of the check-up find something, in published networks and in noise in their place.

    OMP_NUM_THREADS=1 python benchmarks/checkup.py networks
    OMP_NUM_THREADS=1 python benchmarks/checkup.py noise

``networks``: the files of ``../shared/zoo``. ``noise``: matched and white noise in the place of the filters of every
fifth of them, of which no audit but *not-formed* should say anything that is due to chance; dead and unreadable filters
stay what they are in noise. The figures go into ``results/checkup.json``.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import scalekeys as sk
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS, Progress, table
from scalekeys.checkup.audits import AUDITS, NEEDS
from scalekeys.errors import ScaleKeysError
from scalekeys.filters import FilterBank

ZOO = Path(__file__).resolve().parents[2] / "shared" / "zoo"
CONTROLS = {"matched": sk.matched_noise_like, "white": sk.white_noise_like}
MADE = [name for name in AUDITS if name not in NEEDS]
"""The audits that weights alone are enough for."""
FORMED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mcunet", "mbv2", "proxyless")
"""Networks trained at length on ImageNet, of which an alarm would most likely be false."""


def run_networks(arguments: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for path, bank in _banks(arguments.every):
        start = time.process_time()
        found = sk.check(bank).advice
        rows.append(
            {
                "network": path.name,
                "filters": len(bank),
                "sizes": len(bank.sizes),
                "seconds": round(time.process_time() - start, 2),
                "found": {advice.name: round(advice.share, 4) for advice in found},
            }
        )
    formed = [row for row in rows if row["network"].startswith(FORMED)]
    return {"networks": len(rows), "audits": _table(rows, len(rows), formed), "rows": rows}


def run_noise(arguments: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for path, bank in _banks(arguments.every):
        for control, like in CONTROLS.items():
            found = sk.check(like(bank, seed=1)).advice
            rows.append({"network": path.name, "noise": control, "found": {one.name: one.share for one in found}})
    count = len(rows) // len(CONTROLS)
    mine = {control: [row for row in rows if row["noise"] == control] for control in CONTROLS}
    audits = [
        {"audit": name, "of": count} | {control: _count(mine[control], name) for control in CONTROLS} for name in MADE
    ]
    return {"networks": count, "audits": audits, "rows": rows}


def _table(rows: list[dict[str, Any]], count: int, formed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "audit": name,
            "networks": _count(rows, name),
            "of": count,
            "among_well_trained": _count(formed, name),
            "of_these": len(formed),
        }
        for name in MADE
    ]


def _count(rows: list[dict[str, Any]], audit: str) -> int:
    return Counter(name for row in rows for name in row["found"])[audit]


def _banks(every: int) -> Iterator[tuple[Path, FilterBank]]:
    """Give the networks of the zoo that can be read, or some of them."""
    paths = sorted(path for path in ZOO.iterdir() if path.is_file() and path.suffix != ".csv")[::every]
    progress = Progress("networks", len(paths))
    for path in paths:
        try:
            yield path, sk.extract(path)
        except ScaleKeysError as error:
            print(f"{path.name}: {error}")
        progress.advance(1)


def _show(results: dict[str, Any]) -> None:
    table(f"networks in which an audit finds something, of {results['networks']}", results["audits"])


def _arguments_with(every: int) -> Any:
    return lambda parser: parser.add_argument("--every", type=int, default=every, help="take every so many-th file")


SECTIONS: dict[str, Section] = {
    "networks": SimpleNamespace(
        HELP="published networks", add_arguments=_arguments_with(1), run=run_networks, show=_show
    ),
    "noise": SimpleNamespace(HELP="noise instead", add_arguments=_arguments_with(5), run=run_noise, show=_show),
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("checkup.json"))
