"""Damaged and hostile input: some seconds of it with fixed numbers, and that what goes wrong is seen."""

import os
import pickle
import time
from contextlib import suppress
from random import Random

import pytest
from fuzz import campaign, canary, limits
from fuzz.case import Target, files_of
from fuzz.mutators import of_one, pickles, raw
from fuzz.targets import TARGETS
from fuzz.verdict import judge

from scalekeys.errors import CheckpointError

CASES = 12
OF_THEIR_OWN = ("torch-old", "torchscript", "pt2", "dcp", "nemo", "atlas")
"""Targets whose writers put times, or addresses in memory, into the samples."""


def test_no_damage_is_a_surprise():
    tally = campaign.run(list(TARGETS), jobs=2, cases=CASES)
    assert tally.findings == []
    assert {row["format"]: row["cases"] for row in tally.rows()} == dict.fromkeys(TARGETS, CASES)
    assert all(row["refused"] for row in tally.rows())


def test_a_case_is_the_same_each_time():
    for target in TARGETS.values():
        if target.name not in OF_THEIR_OWN:
            once, again = (files_of(list(target.samples()), target.mutations, Random(7)) for _ in range(2))
            assert once == again, target.name


def leave_a_file(folder, _random):
    (folder / "half").write_bytes(b"x")
    raise CheckpointError("no")


def execute(_folder, _random):
    canary.fire()


def start_a_program(_folder, _random):
    os.system("true")


class AsItIsError(CheckpointError):
    """Does not make one line of bounded length of what it says."""

    __str__ = Exception.__str__


def say_too_much(_folder, _random):
    raise AsItIsError("x" * 501)


def say_two_lines(_folder, _random):
    raise AsItIsError("one\ntwo")


def say_nothing(_folder, _random):
    raise CheckpointError("")


def fail(_folder, _random):
    raise KeyError("x")


def sleep(_folder, _random):
    time.sleep(5)


def exhaust(_folder, _random):
    raise MemoryError


def refuse(_folder, _random):
    raise CheckpointError("a.txt: is empty; fetch it again")


def read(_folder, _random):
    pass


@pytest.mark.parametrize(
    ("use", "kind"),
    [
        (leave_a_file, "partial"),
        (execute, "executed"),
        (start_a_program, "executed"),
        (say_too_much, "message"),
        (say_two_lines, "message"),
        (say_nothing, "message"),
        (fail, "foreign"),
        (sleep, "slow"),
        (exhaust, "memory"),
        (refuse, "refused"),
        (read, "read"),
    ],
)
def test_what_happens_to_a_case_is_seen(use, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    canary.watch()
    target = Target("x", lambda: [{"a.txt": b"text"}], [of_one(raw.any_change)], use)
    assert judge(target, 3, [{"a.txt": b"text"}], tmp_path / "case").kind == kind


def test_payloads_run_where_pickles_are_executed(monkeypatch):
    """The payloads are real: Python's own reader of pickles executes them."""
    monkeypatch.setattr(pickles, "PAYLOADS", pickles.PAYLOADS[:3])
    canary.watch()
    random, ran = Random(0), 0
    for _ in range(300):
        with suppress(Exception):  # not every payload is a whole pickle
            pickle.loads(b"\x80\x02" + pickles.payload(random) + b".")
        ran += bool(canary.executed())
    assert ran > 20
