"""Known filters behind noisy copies are found again."""

from functools import partial

import pytest
import torch
from planted_filters import planted, random_truth, unit
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

import scalekeys as sk
from scalekeys.clustering import Keys
from scalekeys.clustering.windows import symmetries

cluster = partial(sk.cluster, controls=False)


def matched(keys: Keys, truth: torch.Tensor) -> torch.Tensor:
    """Size of the correlation of each true filter with the key that is matched to it."""
    size = (unit(truth) @ keys.filters.flatten(1).T).abs().numpy()
    return torch.from_numpy(size[linear_sum_assignment(-size)])


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))])
def test_the_published_keys_with_as_much_noise(seed):
    filters, label = planted(sk.master_keys(), 20_000, seed)
    keys = cluster(filters, k=8, seed=seed)
    assert matched(keys, sk.master_keys()).min() >= 0.99
    # Two of the published keys correlate by 0.90, so that noise of this energy mixes some of their copies up.
    assert adjusted_rand_score(label, keys.assignment) > 0.75


@pytest.mark.parametrize("seed", range(5))
def test_each_restart_finds_random_filters(seed):
    truth = random_truth(8, seed=seed)
    filters, _ = planted(truth, 3_000, seed)
    keys = cluster(filters, k=8, seed=seed, restarts=1)
    assert matched(keys, truth).min() >= 0.99


def test_without_noise_the_keys_are_exact():
    truth = random_truth(5, side=5)
    filters, label = planted(truth, 400, seed=0, noise=0.0)
    keys = cluster(filters, k=5)
    assert matched(keys, truth).min() > 1 - 1e-12
    assert keys.explained == pytest.approx(1, abs=1e-12)
    assert adjusted_rand_score(label, keys.assignment) == 1
    assert keys.coverage(0.999) == 1


def test_one_key_for_all_turns_and_mirror_images():
    truth = random_truth(3, side=5)
    filters, label = planted(truth, 1_200, seed=0, noise=0.3)
    turned = torch.randint(8, (1_200,), generator=torch.Generator().manual_seed(1))
    moves = symmetries((5, 5), "dihedral")
    filters = filters.flatten(1).gather(1, moves[turned]).view(-1, 5, 5)
    keys = cluster(filters, k=3, symmetry="dihedral")
    assert adjusted_rand_score(label, keys.assignment) > 0.99
    images = keys.filters.flatten(1)[:, moves]
    assert ((unit(truth) @ images.flatten(0, 1).T).abs().amax(1) > 0.99).all()


@pytest.mark.parametrize("symmetry", ["none", "dihedral"])
def test_turned_copies_without_noise_give_exact_keys(symmetry):
    truth = random_truth(2, side=5)
    images = truth if symmetry == "none" else truth.flatten(1)[:, symmetries((5, 5), symmetry)].view(-1, 5, 5)
    filters, _ = planted(images, 300, seed=0, noise=0.0)
    keys = cluster(filters, k=2, symmetry=symmetry)
    assert keys.explained == pytest.approx(1, abs=1e-12)


def test_a_rare_key_is_found():
    truth = random_truth(4)
    filters, label = planted(truth, 4_000, seed=2)
    rare = torch.cat([filters[label < 3], filters[label == 3][:40]])
    assert matched(cluster(rare, k=4), truth).min() > 0.93


@pytest.mark.parametrize("count", [3, 8])
def test_the_number_of_keys_is_found(count):
    filters, _ = planted(sk.master_keys()[8 - count :], 3_000, seed=count)
    choice = sk.choose_k(filters, range(count - 1, count + 3), restarts=3)
    assert choice.best == count
    best = choice.table.set_index("k").loc[count]
    assert best.stability_halves > 0.99
    assert choice.reason.startswith(f"{count} is the largest number whose keys are all found again")


def test_noise_has_no_number_of_keys():
    noise = torch.randn(500, 5, 5, generator=torch.Generator().manual_seed(0))
    choice = sk.choose_k(noise, (1, 2, 3), restarts=3)
    assert choice.best == 1
    assert "no number of keys is found again" in choice.reason
