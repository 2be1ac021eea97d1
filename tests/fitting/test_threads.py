"""Chunks in threads: the same results in the same order, and errors that come through."""

import pytest
import torch

import scalekeys as sk
from scalekeys.fitting import engine
from scalekeys.fitting.threads import in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_threads_change_nothing(monkeypatch):
    filters = torch.randn(300, 5, 5, generator=torch.Generator().manual_seed(0))
    alone = sk.fit(filters, criterion="l2")
    monkeypatch.setattr(engine, "_LEAST_CHUNK", 16)
    monkeypatch.setattr(engine, "CHUNK", 70)
    done = []
    together = sk.fit(filters, criterion="l2", progress=done.append)
    assert done == [70, 70, 70, 70, 20]
    assert list(together.family) == list(alone.family)
    torch.testing.assert_close(together.sigma, alone.sigma, rtol=1e-9, atol=1e-9, equal_nan=True)
    metric = sk.natural_image_covariance(5)
    one = sk.fit(filters, "dx", criterion="response", covariance=metric)
    monkeypatch.setattr(engine, "_WEIGHTED_CHUNK", 70)
    other = sk.fit(filters, "dx", criterion="response", covariance=metric)
    torch.testing.assert_close(one.sigma, other.sigma, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_is_as_before():
    def fail(number):
        if number == 2:
            raise sk.FilterError("number 2 is bad")
        return torch.get_num_threads()

    with pytest.raises(sk.FilterError, match="number 2 is bad"):
        list(in_threads(fail, [1, 2, 3], threads=2))
    assert torch.get_num_threads() == 2
    assert list(in_threads(fail, [1, 3], threads=2)) == [1, 1]
