"""What must not change the keys: order, sign, amplitude and offset of filters, batches, where they are stored."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_filters import bank_of_several_sizes, planted, random_truth, unit

import scalekeys as sk
from scalekeys.clustering import Keys
from tolerances import DTYPES

COUNT = 240
cluster = partial(sk.cluster, controls=False)


def some_filters(seed: int, side: int = 5) -> torch.Tensor:
    return planted(random_truth(4, side=side, seed=seed), COUNT, seed, noise=0.5)[0]


def unstructured(seed: int, side: int = 5) -> torch.Tensor:
    """Return filters without keys, on which every restart ends elsewhere, so that any difference of the draws shows."""
    return random_truth(COUNT, side=side, seed=seed)


def assert_same_keys(ours: Keys, theirs: Keys, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours.filters, theirs.filters, rtol=0, atol=tolerance)
    assert ours.explained == pytest.approx(theirs.explained, abs=tolerance)


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000))
def test_sign_amplitude_and_offset_change_nothing(seed):
    filters = some_filters(seed)
    generator = torch.Generator().manual_seed(seed)
    amplitude = torch.randn(COUNT, 1, 1, generator=generator, dtype=torch.float64).exp()
    sign = torch.randn(COUNT, 1, 1, generator=generator).sign()
    plain = cluster(filters, k=4, restarts=3)
    changed = cluster(sign * amplitude * filters + 2 * amplitude, k=4, restarts=3)
    assert_same_keys(changed, plain)
    assert torch.equal(changed.assignment, plain.assignment)
    torch.testing.assert_close(changed.correlation, sign[:, 0, 0] * plain.correlation, rtol=0, atol=1e-5)


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000))
def test_sign_and_size_change_no_draw(seed):
    generator = torch.Generator().manual_seed(seed)
    factor = 2.0 ** torch.randint(-6, 6, (COUNT, 1, 1), generator=generator)  # exact; none becomes negligible
    sign = torch.randn(COUNT, 1, 1, generator=generator).sign()
    plain = cluster(unstructured(seed), k=6, restarts=1)
    changed = cluster(sign * factor * unstructured(seed), k=6, restarts=1)
    assert_same_keys(changed, plain)
    assert torch.equal(changed.assignment, plain.assignment)


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000))
def test_the_order_of_the_filters_permutes_the_assignment(seed):
    filters = unstructured(seed)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(seed))
    plain, mixed = cluster(filters, k=6, restarts=1), cluster(filters[order], k=6, restarts=1)
    assert_same_keys(mixed, plain)
    assert torch.equal(mixed.assignment, plain.assignment[order])


@settings(max_examples=10)
@given(seed=st.integers(0, 1_000), turns=st.integers(0, 3), mirrored=st.booleans())
def test_turned_filters_have_the_same_keys_up_to_symmetry(seed, turns, mirrored):
    filters = unstructured(seed)
    other = torch.rot90(filters.flip(-1) if mirrored else filters, turns, (-2, -1))
    options = {"k": 4, "restarts": 1, "symmetry": "dihedral"}
    plain, turned = cluster(filters, **options), cluster(other, **options)
    assert_same_keys(turned, plain)
    assert torch.equal(turned.assignment, plain.assignment)
    torch.testing.assert_close(turned.correlation.abs(), plain.correlation.abs(), rtol=0, atol=1e-5)


def test_a_transform_takes_the_key_to_the_filter():
    filters = random_truth(COUNT, side=5, seed=3)
    keys, rows = cluster(filters, k=4, symmetry="dihedral"), unit(filters)
    assert set(keys.transform.tolist()) == set(range(8))
    for number in range(COUNT):
        key = keys.filters[keys.assignment[number]]
        transform = int(keys.transform[number])
        image = torch.rot90(key.flip(-1) if transform >= 4 else key, transform % 4)
        assert float(rows[number] @ image.flatten()) == pytest.approx(float(keys.correlation[number]), abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 37, 10_000])
@pytest.mark.parametrize("options", [{}, {"symmetry": "dihedral", "weighting": "energy"}], ids=str)
def test_batches_do_not_show(batch_size, options):
    bank = bank_of_several_sizes()
    plain = cluster(bank, k=3, restarts=2, **options)
    batched = cluster(bank, k=3, restarts=2, batch_size=batch_size, **options)
    assert_same_keys(batched, plain)
    assert torch.equal(batched.assignment, plain.assignment)
    assert torch.equal(batched.transform, plain.transform)


def test_batches_of_what_stays_in_memory_do_not_show(monkeypatch):
    plain = cluster(some_filters(5), k=4)
    monkeypatch.setattr("scalekeys.clustering.points.BATCH", 50)
    assert_same_keys(cluster(some_filters(5), k=4), plain)


def test_restarts_do_not_depend_on_how_many_run_at_once(monkeypatch):
    plain = cluster(unstructured(6), k=8, restarts=5)
    monkeypatch.setattr("scalekeys.clustering.search._AT_ONCE", 1)
    assert_same_keys(cluster(unstructured(6), k=8, restarts=5), plain)


def test_a_seed_decides_everything():
    noise = torch.randn(300, 5, 5, generator=torch.Generator().manual_seed(0))
    first, again, other = (cluster(noise, k=6, seed=seed, restarts=2) for seed in (1, 1, 2))
    assert torch.equal(first.filters, again.filters)
    assert not torch.equal(first.filters, other.filters)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_arrays(dtype):
    filters = some_filters(7)
    plain, other = cluster(filters, k=4), cluster(filters.to(dtype).numpy(), k=4)
    assert_same_keys(other, plain)
    assert other.filters.dtype == torch.float64


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("weighting", ["equal", "energy"])
def test_very_small_and_very_large_filters(size, weighting):
    filters = some_filters(8)
    plain = cluster(filters, k=4, weighting=weighting)
    assert_same_keys(cluster(filters * size, k=4, weighting=weighting), plain)


def test_leading_axes_do_not_matter():
    filters = some_filters(9)
    shaped = cluster(filters.view(2, 3, -1, 5, 5), k=4)
    assert torch.equal(shaped.filters, cluster(filters, k=4).filters)


def test_several_banks_are_one_after_the_other():
    filters = some_filters(10)
    banks = [sk.FilterBank.from_tensor(part, model=str(number)) for number, part in enumerate(filters.split(100))]
    keys, plain = cluster(banks, k=4), cluster(filters, k=4)
    assert_same_keys(keys, plain, 1e-12)
    assert torch.equal(keys.assignment, plain.assignment)
    assert list(keys.to_pandas().model.value_counts(sort=False)) == [100, 100, 40]


def test_filters_that_cannot_be_clustered_do_not_count():
    filters = some_filters(11)
    bad = filters.clone()
    bad[5], bad[50], bad[100] = 0.0, 3.0, torch.nan
    good = [number for number in range(COUNT) if number not in (5, 50, 100)]
    keys, plain = cluster(bad, k=4), cluster(filters[good], k=4)
    assert_same_keys(keys, plain, 1e-12)
    assert (keys.assignment == -1).nonzero()[:, 0].tolist() == [5, 50, 100]
    assert keys.correlation[[5, 50, 100]].isnan().all()
