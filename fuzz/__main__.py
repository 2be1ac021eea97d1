"""The command: ``python -m fuzz --minutes 5``, ``python -m fuzz --replay torch:17``."""

import argparse
import json
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random

from fuzz import campaign
from fuzz.case import files_of, write
from fuzz.targets import TARGETS


def main() -> int:
    """Run what is asked for; return 1 where there is a finding."""
    arguments = _parsed()
    if arguments.replay:
        return _replay(arguments.replay)
    targets = arguments.targets or list(TARGETS)
    seconds = None if arguments.minutes is None else 60 * arguments.minutes
    tally = campaign.run(targets, jobs=arguments.jobs, seconds=seconds, cases=arguments.cases, first=arguments.first)
    for row in tally.rows():
        print("  ".join(f"{name} {value}" for name, value in row.items() if value or name == "cases"))
    for target, number, kind, detail in sorted(tally.findings)[: arguments.show]:
        print(f"{kind}: {target}:{number}  {detail}")
    print(f"{tally.cases} cases, {len(tally.findings)} findings")
    if arguments.output:
        arguments.output.write_text(json.dumps({"rows": tally.rows(), "findings": tally.findings}, indent=1) + "\n")
    return 1 if tally.findings else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Damaged and hostile input by the million.")
    parser.add_argument("targets", nargs="*", metavar="FORMAT", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, help="how long to go on")
    parser.add_argument("--cases", type=int, help="cases of each format; without, until the time is over")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each format")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--show", type=int, default=40, help="findings to print")
    parser.add_argument("-o", "--output", type=Path, help="file for counts and findings, as JSON")
    parser.add_argument(
        "--replay", metavar="FORMAT:NUMBER", help="write the files of one case, run it, and show where it ends"
    )
    return parser.parse_args()


def _replay(case: str) -> int:
    name, _, number = case.rpartition(":")
    target = TARGETS[name]
    random = Random(f"{name}:{int(number)}")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    write(files_of(list(target.samples()), target.mutations, random), folder / "input")
    print(f"input: {folder / 'input'}")
    try:
        target.use(folder, random)
    except BaseException:  # whatever it is, it is what was asked for
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
