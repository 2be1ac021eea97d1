"""Keys of some networks on others: planted keys that groups share, or that each has of its own; and noise."""

import numpy as np
import pytest
import torch
from planted_filters import planted, random_truth, unit

from scalekeys.clustering import held_out_cover
from scalekeys.clustering.network_sample import NetworkSample, equal_shares
from scalekeys.clustering.spec import ClusterSpec
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank, LayerFilters, white_noise_like


def _bank(truth, seed, count=150, noise=0.1):
    return FilterBank.from_tensor(planted(truth, count, seed, noise)[0], model=f"network {seed}")


@pytest.fixture(scope="module")
def shared():
    return [_bank(random_truth(4), seed) for seed in range(4)]


def _groups(banks, groups, **options):
    return held_out_cover(banks, groups, 4, restarts=1, **options).groups.set_index("group")


def test_shared_keys_explain_the_group_that_is_held_out_as_its_own_do(shared):
    found = _groups(shared, ["a", "a", "b", "b"])
    assert (found.held_out > found.own - 0.01).all()
    assert found.own.between(0.9, 0.93).all()  # 1 / 1.1 is signal
    assert (found.held_out > found.matched_noise + 0.1).all()
    assert (found.matched_noise > found.white_noise + 0.2).all()
    assert found.networks.tolist() == [2, 2]
    assert found.filters.tolist() == [300, 300]


def test_keys_of_its_own_are_not_found_in_other_groups(shared):
    others = [_bank(random_truth(4, seed=1), seed) for seed in (7, 8)]
    found = _groups([*shared[:2], *others], ["a", "a", "b", "b"])
    assert (found.held_out < found.own - 0.5).all()
    assert (abs(found.held_out - found.matched_noise) < 0.1).all()


def test_noise_has_nothing_beyond_the_controls(shared):
    found = _groups([white_noise_like(bank, seed=seed) for seed, bank in enumerate(shared, 50)], list("aabb"))
    for control in ("matched_noise", "white_noise"):
        assert (abs(found.held_out - found[control]) < 0.02).all()


def test_the_share_is_that_of_the_best_key_of_each_filter(shared):
    truth = random_truth(4)
    sample = NetworkSample.of(shared, ClusterSpec())
    keys = unit(truth)
    expected = [(unit(bank.layers[0].kernels) @ keys.T).square().amax(1).mean() for bank in shared]
    np.testing.assert_allclose(sample.explained(keys.float()), expected, atol=1e-6)


def test_a_large_network_counts_no_more_than_a_small_one():
    small, large = _bank(random_truth(1), 0, 40), _bank(random_truth(1, seed=1), 1, 4000)
    sample = NetworkSample.of((small, large), ClusterSpec(), most=400)
    assert sample.counts.tolist() == [40, 360]
    both = torch.ones(2, dtype=torch.bool)
    key = sample.keys(equal_shares([("a",), ("b",)], both), ClusterSpec(k=1, restarts=2))
    of_two = [(key.double() @ unit(random_truth(1, seed=seed)).T).abs().item() for seed in (0, 1)]
    pooled = unit(torch.cat([small.layers[0].kernels.repeat(90, 1, 1), large.layers[0].kernels[:3600]]))
    leading = torch.linalg.eigh(pooled.T @ pooled).eigenvectors[:, -1]
    expected = [(leading @ unit(random_truth(1, seed=seed))[0]).abs().item() for seed in (0, 1)]
    np.testing.assert_allclose(of_two, expected, atol=0.05)


def test_networks_of_one_series_count_as_one(shared):
    one = held_out_cover(shared, list("aaab"), 4, series=["x", "x", "y", "z"], restarts=1)
    assert one.networks.part.tolist() == [0.25, 0.25, 0.5, 1.0]
    assert one.networks.series.tolist() == ["x", "x", "y", "z"]


def test_the_order_of_networks_does_not_matter(shared):
    first = _groups(shared, list("aabb"))
    second = _groups(shared[::-1], list("bbaa")).loc[["a", "b"]]
    same = ["own", "held_out", "published"]
    np.testing.assert_allclose(first[same], second[same], atol=1e-5)


def test_networks_and_groups_without_enough_filters_are_left_out_and_said(shared):
    small = FilterBank((LayerFilters("a", torch.rand(9, 3, 3)),), model="small")
    few = _bank(random_truth(4), 9, 3)
    found = held_out_cover([*shared, small, few], [*"aabb", "a", "few"], 4, restarts=1, sizes=(7, 7))
    assert found.groups.group.tolist() == ["a", "b"]
    assert found.networks.network.tolist() == [bank.model for bank in shared]
    assert found.notes == (
        "networks without filters to compare are left out: 1 of 6",
        "groups with fewer than 4 filters are left out: few",
    )


def test_the_published_keys_have_two_axes_only():
    banks = [FilterBank.from_tensor(torch.rand(60, 9), axes=1, model=name) for name in "ab"]
    found = held_out_cover(banks, ["a", "b"], 2, restarts=1).groups
    assert found.published.isna().all()
    assert found.held_out.notna().all()


def test_bad_input_is_refused(shared):
    with pytest.raises(ModelError, match="one group, and one series, for each of the 4 networks"):
        held_out_cover(shared, ["a", "b"])
    with pytest.raises(
        FilterError, match="needs two groups with at least 8 filters of the kernel size asked for, got 1"
    ):
        held_out_cover(shared, ["a"] * 4)
