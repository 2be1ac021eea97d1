"""Every engine gives every result once, and outlives its workers."""

import os
import signal
import threading

import pytest
from deadly import die_of_three, die_once, sleep, square

from scalekeys.atlas import engines
from scalekeys.atlas.engines import InProcess, Lost, Processes
from scalekeys.errors import AtlasError


@pytest.mark.parametrize("engine", [InProcess(), Processes(1), Processes(3)], ids=["here", "one", "three"])
def test_each_task_comes_back_once_with_its_result(engine):
    assert sorted(engine.run(square, range(7))) == [(n, n * n) for n in range(7)]


def test_tasks_are_taken_as_workers_get_free():
    taken = []
    results = Processes(2).run(square, (taken.append(n) or n for n in range(100)))
    next(results)
    assert len(taken) <= 4
    results.close()


def test_without_tasks_no_process_is_started(monkeypatch):
    monkeypatch.setattr(engines, "_Worker", None)
    assert list(Processes(2).run(square, ())) == []


def test_a_task_that_kills_its_workers_is_lost_and_the_others_are_done():
    results = dict(Processes(2).run(die_of_three, range(6)))
    assert results == {n: Lost() if n == 3 else n * n for n in range(6)}


def test_a_task_whose_worker_was_killed_is_given_to_another(tmp_path):
    marker = str(tmp_path / "marker")
    assert list(Processes(1).run(die_once, [marker])) == [(marker, "alive")]


def test_processes_that_cannot_start_are_one_error_and_not_a_lost_task(monkeypatch):
    monkeypatch.setattr(engines, "_serve", os.abort)  # with arguments that it does not take, so that it ends at once
    with pytest.raises(AtlasError, match=r"worker processes do not start; in a script, build below `if __name__"):
        list(Processes(1).run(square, range(3)))


def test_workers_are_gone_when_the_run_is_given_up():
    results = Processes(2).run(sleep, [0.0, 0.0, 60.0, 60.0])
    workers = {next(results)[1], next(results)[1]}
    results.close()
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_a_worker_ends_when_nobody_listens():
    """As when the driver was killed, which closes its ends of the pipes."""
    context = engines.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=engines._serve, args=(there, square), daemon=True)
    process.start()
    there.close()
    assert here.recv() is None
    here.close()
    process.join(20)
    assert process.exitcode == 0


def test_the_keyboard_interrupts_the_driver_and_not_a_worker_that_starts():
    worker = engines._Worker(square, 3, 0)
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.connection.recv() is None
    worker.stop()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_the_keyboard_interrupts_the_driver_and_not_the_workers():
    results = Processes(1).run(sleep, [0.0, 2.0])
    worker, sent = next(results)[1], []
    timer = threading.Timer(0.05, lambda: sent.append(os.kill(worker, signal.SIGINT)))
    timer.start()
    assert next(results) == (2.0, worker)
    assert sent == [None]
    timer.join()
    results.close()
