"""Threads: the caller's number is as before, no other thread notices, and results are the same to the last bit."""

import threading

import pytest
import torch

import scalekeys as sk
from scalekeys.fitting import stack
from scalekeys.threads import in_threads, one_thread


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _in_new_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def _filters(count, *size):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(0))


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(stack, "CHUNK", 70)
    layers = [sk.LayerFilters("first", _filters(290, 5, 5)), sk.LayerFilters("second", _filters(100, 3, 3))]
    bank, done = sk.FilterBank(tuple(layers)), []
    together = sk.fit(bank, progress=done.append)
    assert done == [58, 58, 58, 58, 58, 50, 50]
    torch.set_num_threads(1)
    alone = sk.fit(bank)
    assert list(together.family) == list(alone.family)
    assert torch.equal(together.sigma.nan_to_num(-1), alone.sigma.nan_to_num(-1))
    assert torch.equal(together.r2, alone.r2)


def test_chunks_with_covariances_do_not_show(monkeypatch):
    filters, metric = _filters(100, 5, 5), sk.natural_image_covariance(5)
    one = sk.fit(filters, "dx", criterion="response", covariance=metric)
    monkeypatch.setattr(stack, "_WEIGHTED_CHUNK", 30)
    other = sk.fit(filters, "dx", criterion="response", covariance=metric)
    torch.testing.assert_close(one.sigma, other.sigma, rtol=1e-9, atol=1e-9)


def test_threads_change_no_number_of_keys():
    filters = sk.master_keys().repeat(5, 1, 1) + 0.1 * _filters(40, 7, 7)
    tables = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        tables.append(sk.choose_k(filters, range(1, 3), restarts=1).table)
    assert tables[0].equals(tables[1])


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_is_as_before():
    def fail(number):
        if number == 2:
            raise sk.FilterError("number 2 is bad")
        return torch.get_num_threads()

    for threads in (1, 2):
        with pytest.raises(sk.FilterError, match="number 2 is bad"):
            list(in_threads(fail, [1, 2, 3], threads=threads))
        assert torch.get_num_threads() == 2
        assert list(in_threads(fail, [1, 3], threads=threads)) == [1, 1]
    assert _in_new_thread(torch.get_num_threads) == 2


def test_the_work_of_one_thread_leaves_the_number_as_it_was_even_after_an_error():
    with one_thread():
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(sk.FilterError), one_thread():
        raise sk.FilterError("is bad")
    assert torch.get_num_threads() == 2


def test_other_threads_do_not_notice():
    entered, left, seen = threading.Event(), threading.Event(), {}

    def second():
        with one_thread():
            seen["inside"] = torch.get_num_threads()
            entered.set()
            left.wait(60)
        seen["after"] = torch.get_num_threads()

    torch.set_num_threads(3)
    with one_thread():
        seen["begun meanwhile"] = _in_new_thread(torch.get_num_threads)
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(60)
    seen["first"] = torch.get_num_threads()
    left.set()
    thread.join()
    seen["begun afterwards"] = _in_new_thread(torch.get_num_threads)
    assert seen == {"begun meanwhile": 3, "inside": 1, "first": 3, "after": 3, "begun afterwards": 3}


ARITHMETIC = {"add", "sub", "mul", "div", "sum", "mean", "matmul", "linalg_vector_norm"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: sk.fit(sk.master_keys()),
        lambda: sk.fit(sk.master_keys(), scales="shared"),
        lambda: sk.cluster(sk.master_keys(), 2, restarts=1),
        lambda: sk.assign_keys(sk.master_keys()),
        lambda: sk.white_noise_like(sk.FilterBank.from_tensor(sk.master_keys())),
        lambda: sk.matched_noise_like(sk.FilterBank.from_tensor(sk.master_keys())),
        lambda: sk.fit(sk.master_keys()).kernels(),
    ],
    ids=["fit", "shared", "cluster", "assign", "noise", "matched", "kernels"],
)
def test_short_operations_are_done_on_one_thread(monkeypatch, call):
    seen = set()

    class Noted(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if getattr(func, "__name__", "") in ARITHMETIC:
                seen.add(torch.get_num_threads())
            return func(*args, **(kwargs or {}))

    with Noted():
        call()
    assert seen == {1}
    assert torch.get_num_threads() == 2
