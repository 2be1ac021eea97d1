"""What a result tells: energies, members, coverage, tables and models."""

import numpy as np
import pytest
import torch
from planted_filters import bank_of_several_sizes, planted, random_truth, unit

import scalekeys as sk
from scalekeys.clustering import Keys
from scalekeys.clustering.lines import moved, power_sums, squares
from scalekeys.clustering.search import search
from scalekeys.clustering.spec import ClusterSpec
from scalekeys.clustering.windows import cropped, padded, symmetries, unit_rows, window_for
from scalekeys.filters import FilterBank, LayerFilters


@pytest.fixture(scope="module")
def keys() -> Keys:
    filters, _ = planted(random_truth(7, side=5), 300, seed=0, noise=0.6)
    return sk.cluster(filters, k=7)


def left_by_least_squares(filter_: np.ndarray, key: np.ndarray) -> float:
    """Energy that the best amplitude and offset leave, by numpy's solver."""
    design = np.stack([key.ravel(), np.ones(key.size)], axis=1)
    solution = np.linalg.lstsq(design, filter_.ravel(), rcond=None)[0]
    return float(np.square(filter_.ravel() - design @ solution).sum())


@pytest.mark.parametrize("weighting", ["equal", "energy"])
def test_explained_is_what_the_best_amplitude_and_offset_explain(weighting):
    filters, _ = planted(random_truth(3, side=5), 80, seed=1)
    keys = sk.cluster(filters, k=3, weighting=weighting)
    left = [min(left_by_least_squares(filter_.numpy(), key.numpy()) for key in keys.filters) for filter_ in filters]
    energy = (filters - filters.mean((-2, -1), keepdim=True)).square().sum((-2, -1)).numpy()
    share = np.array(left) / energy
    expected = 1 - share.mean() if weighting == "equal" else 1 - (share * energy).sum() / energy.sum()
    assert keys.explained == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(keys.correlation.square().numpy(), 1 - share, atol=1e-10)


def test_each_key_is_the_leading_eigenvector_of_its_members(keys):
    rows = unit(keys.banks[0].layers[0].kernels)
    for number, key in enumerate(keys.filters):
        mine = rows[keys.assignment == number].numpy()
        leading = np.linalg.svd(mine)[2][0]
        aligned = leading * np.sign(leading @ key.flatten().numpy())
        np.testing.assert_allclose(aligned, key.flatten(), atol=1e-11)
        size = np.abs(rows.numpy() @ keys.filters.flatten(1).numpy().T)
    assert keys.assignment.tolist() == size.argmax(1).tolist()


def test_keys_are_centred_of_unit_norm_and_in_order(keys):
    torch.testing.assert_close(keys.filters.sum((-2, -1)), torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(keys.filters.square().sum((-2, -1)), torch.ones(7, dtype=torch.float64))
    assert keys.counts.tolist() == sorted(keys.counts.tolist(), reverse=True)
    assert int(keys.counts.sum()) == 300


def test_energy_orders_keys_by_the_energy_of_their_members():
    filters, label = planted(random_truth(2, side=5), 300, seed=0, noise=0.1)
    rare = torch.cat([filters[label == 0], 5 * filters[label == 1][:30]])
    keys = sk.cluster(rare, k=2, weighting="energy")
    assert keys.counts.tolist() == [30, int((label == 0).sum())]


def test_members_and_uncovered_filters(keys):
    size = keys.correlation.abs()
    members = keys.members(1)
    assert (keys.assignment[members] == 1).all()
    assert len(members) == keys.counts[1]
    assert (size[members].diff() <= 0).all()
    assert torch.equal(keys.members(1, 3), members[:3])
    uncovered = keys.uncovered(threshold=0.7)
    assert len(uncovered) == int((size < 0.7).sum())
    assert (size[uncovered].diff() >= 0).all()
    assert keys.coverage(0.7) == pytest.approx(1 - len(uncovered) / 300)
    assert len(keys.uncovered(2, 0.7)) == 2
    with pytest.raises(sk.FilterError, match=r"there is no key 7; the keys are 0 to 6"):
        keys.members(7)


def test_coverage_by_layer_counts_clustered_filters_only():
    bank = bank_of_several_sizes()
    bank.layers[1].kernels[:5] = 0
    keys = sk.cluster(bank, k=3, sizes=(7, 7))
    table = keys.coverage_by_layer(0.3)
    assert list(table.columns) == ["model", "layer", "depth", "filters", "coverage"]
    assert table.filters.tolist() == [15, 20]
    assert table.layer.tolist() == ["stage1.dw", "stage4.dw"]
    assert table.depth.tolist() == [1, 4]
    assert (table.filters * table.coverage).sum() / 35 == pytest.approx(keys.coverage(0.3))


def test_a_table_has_one_row_a_filter():
    bank = bank_of_several_sizes()
    keys = sk.cluster(bank, k=3, layers=["stage[13]*"], symmetry="dihedral")
    table = keys.to_pandas()
    assert list(table.columns) == ["model", "layer", "depth", "channel", "key", "correlation", "transform"]
    assert len(table) == len(bank)
    used = table.key.notna()
    assert set(table.layer[used]) == {"stage1.dw", "stage3.dw"}
    assert table.channel.tolist() == [*range(20)] * 5
    assert (table["transform"].isna() == ~used).all()
    assert (table.correlation.isna() == ~used).all()
    assert table.key[used].tolist() == keys.assignment[keys.assignment >= 0].tolist()


def test_the_published_keys_match_themselves():
    keys = sk.cluster(sk.master_keys(), k=8)
    table = keys.match_published()
    assert sorted(table.published) == list(range(1, 9))
    assert [sk.MASTER_KEY_FAMILIES[number - 1] for number in table.published] == table.family.tolist()
    np.testing.assert_allclose(table.correlation, 1, atol=1e-9)


@pytest.mark.parametrize("side", [3, 5, 9])
def test_published_keys_match_in_windows_of_other_sizes(side):
    window = (side, side)
    mine = padded(cropped(sk.master_keys(), window), window)
    keys = sk.cluster(mine, k=8)
    table = keys.match_published()
    expected = 1.0 if side != 9 else 0.999  # padding a filter after its mean was rounded
    assert (table.correlation >= expected - 1e-6).all()
    assert sorted(table.published) == list(range(1, 9))


def test_keys_without_a_partner_are_left_empty():
    filters, _ = planted(random_truth(10, side=5), 400, seed=0)
    table = sk.cluster(filters, k=10).match_published()
    assert len(table) == 10
    assert table.published.isna().sum() == 2
    assert table.family.isna().sum() == 2
    assert table.correlation.isna().sum() == 2


def test_keys_have_the_sign_of_the_published_key_most_like_them():
    flipped = sk.cluster(-sk.master_keys(), k=8)
    assert (flipped.match_published().correlation > 0.999).all()
    assert (flipped.correlation < -0.999).all()


def test_with_symmetry_keys_stand_in_the_frame_of_the_published_ones():
    turned = torch.rot90(sk.master_keys()[3:4].flip(-1), 1, (-2, -1))
    keys = sk.cluster(turned.repeat(3, 1, 1), k=1, symmetry="dihedral")
    frame = keys.filters.flatten() @ unit(sk.master_keys()).T
    assert float(frame.max()) > 0.999
    assert float(keys.match_published().correlation[0]) > 0.999


def test_keys_get_their_models():
    keys = sk.cluster(sk.master_keys(), k=8)
    names = keys.match_published().family.tolist()
    assert list(keys.fit().family) == names
    assert keys.fit("auto").spec.model == "auto"


def test_the_controls_explain_what_noise_lets_them():
    filters, _ = planted(random_truth(4, side=5), 300, seed=0, noise=0.1)
    keys, bank = sk.cluster(filters, k=4), sk.FilterBank.from_tensor(filters)
    white, matched = (sk.cluster(noise(bank), k=4) for noise in (sk.white_noise_like, sk.matched_noise_like))
    assert (keys.white_noise, keys.matched_noise) == (white.explained, matched.explained)
    assert keys.white_noise < keys.matched_noise < keys.explained
    assert keys.white_noise < 0.5 * keys.explained
    assert repr(keys).endswith(f"{keys.white_noise:.2f}, matched noise {keys.matched_noise:.2f})")


def test_controls_can_be_left_out():
    filters, _ = planted(random_truth(4, side=5), 300, seed=0, noise=0.1)
    told: list[int] = []
    plain, keys = sk.cluster(filters, k=4), sk.cluster(filters, k=4, controls=False, progress=told.append)
    assert torch.equal(keys.filters, plain.filters)
    assert (np.isnan(keys.white_noise), np.isnan(keys.matched_noise)) == (True, True)
    assert sum(told) == 300
    assert repr(keys) == f"Keys(4 keys of 5x5 from 300 filters, share explained {keys.explained:.2f})"


def test_progress_adds_up_to_the_number_of_filters():
    told = []
    sk.cluster(bank_of_several_sizes(), k=2, progress=told.append)
    assert sum(told) == 100
    assert all(number > 0 for number in told)


def test_a_restart_never_loses_and_swaps_help():
    rows, _ = unit_rows(planted(sk.master_keys(), 2_000, seed=0)[0], (7, 7))
    rows, weights, moves = rows.float(), torch.ones(2_000), symmetries((7, 7), "none")
    _, without = search(rows, weights, 8, moves, seed=0, restarts=10, swaps=0)
    _, with_swaps = search(rows, weights, 8, moves, seed=0, restarts=10)
    assert (with_swaps.sort().values >= without.sort().values - 1e-6).all()
    assert with_swaps.min() > without.min() + 0.005
    assert float(with_swaps.max() - with_swaps.min()) < 1e-4


@pytest.mark.parametrize("symmetry", ["none", "dihedral"])
def test_a_step_never_explains_less(symmetry):
    rows, _ = unit_rows(random_truth(200, side=5, seed=4), (5, 5))
    weights, moves = torch.rand(200, dtype=torch.float64), symmetries((5, 5), symmetry)
    keys, before = rows[None, :6].clone(), -1.0
    for _ in range(20):
        sums, explained = power_sums(rows, weights, keys, moves)
        assert float(explained[0]) >= before - 1e-12
        torch.testing.assert_close(explained, squares(rows, keys, moves).amax(1) @ weights)
        keys, before = moved(keys, sums), float(explained[0])


@pytest.mark.parametrize("different", [1, 2])
def test_copies_of_fewer_filters_than_keys(different):
    copies = random_truth(different, side=3)[[*range(different)] * 10]
    keys = sk.cluster(copies * torch.linspace(1, 3, len(copies))[:, None, None], k=5, controls=False, restarts=2)
    assert keys.explained == pytest.approx(1, abs=1e-12)
    norms = keys.filters.square().sum((-2, -1))
    torch.testing.assert_close(norms, torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_as_many_keys_as_filters_explain_all():
    keys = sk.cluster(random_truth(6, side=5), k=6, restarts=3)
    assert keys.explained == pytest.approx(1)
    assert keys.counts.tolist() == [1] * 6


@pytest.mark.parametrize(
    ("sizes", "window"), [("largest", (7, 7)), ("common", (3, 3)), ((5, 5), (5, 5)), ((4, 4), (4, 4))], ids=str
)
def test_windows(sizes, window):
    keys = sk.cluster(bank_of_several_sizes(), k=2, sizes=sizes)
    assert keys.window == window
    assert repr(keys).startswith(f"Keys(2 keys of {window[0]}x{window[1]} from")


def test_one_size_keeps_its_size_even_if_even():
    assert window_for(((4, 4),), ClusterSpec()) == (4, 4)
    assert window_for(((4, 4), (2, 2)), ClusterSpec()) == (4, 4)  # their centres coincide
    assert window_for(((4, 4), (2, 3)), ClusterSpec()) == (4, 5)
    assert window_for(((4, 4), (2, 3)), ClusterSpec(sizes="common")) == (2, 3)
    assert window_for(((4, 4), (2, 3)), ClusterSpec(symmetry="dihedral")) == (5, 5)
    assert window_for(((16,), (4,), (5,)), ClusterSpec()) == (17,)
    assert window_for(((2, 3, 3), (1, 5, 3)), ClusterSpec(sizes="common")) == (1, 3, 3)
    assert window_for(((1, 7),), ClusterSpec()) == (1, 7)
    assert window_for(((1, 7), (7, 1)), ClusterSpec(symmetry="dihedral")) == (7, 7)


def test_padding_and_cropping_keep_the_centre():
    taps = torch.arange(25.0).view(5, 5)
    assert torch.equal(cropped(taps, (3, 3)), taps[1:4, 1:4])
    assert torch.equal(padded(taps, (7, 7))[1:6, 1:6], taps)
    even = torch.arange(16.0).view(4, 4)  # its centre is tap (1, 1), as in a convolution with padding="same"
    assert torch.equal(padded(even, (5, 5))[1:, 1:], even)
    assert torch.equal(cropped(even, (3, 3)), even[:3, :3])


def test_the_offset_of_a_padded_filter_does_not_matter():
    small = LayerFilters("small", random_truth(30, side=3).float())
    moved_ = LayerFilters("small", small.kernels + 5)
    large = LayerFilters("large", random_truth(30, side=5).float(), depth=1)
    plain, other = (sk.cluster(FilterBank((layer, large)), k=3) for layer in (small, moved_))
    torch.testing.assert_close(other.filters, plain.filters, rtol=0, atol=1e-5)
