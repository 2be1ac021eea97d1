"""A process that runs cases: it reads parts of the work, one a line, and answers each with what has happened.

Before each case it writes its number into a file, so that whoever started it knows which case has killed it.
"""

import json
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import torch

from fuzz import canary
from fuzz.case import Files
from fuzz.limits import lift_memory_limit, limit_memory
from fuzz.targets import TARGETS
from fuzz.verdict import judge


def main() -> None:
    """Serve until standard input ends."""
    status = os.open(sys.argv[1], os.O_WRONLY)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a case prints is no answer
    samples: dict[str, list[Files]] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        for line in sys.stdin:
            target, start, count = json.loads(line)
            if target not in samples:
                lift_memory_limit()
                samples[target] = list(TARGETS[target].samples())
            if not canary.is_watching():
                canary.watch()
            limit_memory()
            counts: Counter[str] = Counter()
            findings = []
            for number in range(start, start + count):
                os.pwrite(status, b"%-20d" % number, 0)
                verdict = judge(TARGETS[target], number, samples[target], Path(name) / "case")
                counts[verdict.kind] += 1
                if verdict.is_finding:
                    findings.append((number, verdict.kind, verdict.detail))
            answers.write(json.dumps({"counts": counts, "findings": findings}) + "\n")


if __name__ == "__main__":
    main()
