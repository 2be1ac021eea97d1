"""Keys of one and three axes and of even sides: planted keys, windows, symmetries, mixed banks and tables."""

import itertools

import numpy as np
import pytest
import torch
from planted_filters import planted, unit
from scipy.optimize import linear_sum_assignment

import scalekeys as sk
from scalekeys.clustering.published import in_standard_frame, reference_rows
from scalekeys.clustering.windows import symmetries, unit_rows
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.scalespace import template

SIZES = [(5,), (4,), (16,), (3, 4), (3, 3, 3), (2, 4, 3)]


def random_filters(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64)


def bank_of_mixed_axes() -> FilterBank:
    layers = (
        LayerFilters("causal", random_filters(40, 4), depth=0),
        LayerFilters("image", random_filters(60, 5, 5), depth=1),
        LayerFilters("wide", random_filters(50, 16), depth=2),
        LayerFilters("video", random_filters(20, 3, 3, 3), depth=3),
    )
    return FilterBank(layers, model="mixed")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_planted_keys_are_found_again(size):
    truth = random_filters(3, *size)
    filters, label = planted(truth, 900, seed=0, noise=0.02)
    keys = sk.cluster(filters, k=3, axes=len(size), controls=False)
    assert (keys.window, keys.axes) == (size, len(size))
    likeness = (unit(truth) @ keys.filters.flatten(1).T).abs().numpy()
    ours, theirs = linear_sum_assignment(-likeness)
    assert likeness[ours, theirs].min() > 0.99
    np.testing.assert_allclose(keys.filters.flatten(1).sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(keys.filters.flatten(1).norm(dim=1), 1)
    assert (theirs[label] == keys.assignment.numpy()).mean() > 0.95


@pytest.mark.parametrize(("axes", "size"), [(1, (5,)), (3, (2, 3, 3))])
def test_both_controls_are_clustered_too(axes, size):
    filters, _ = planted(random_filters(3, *size), 300, seed=0, noise=0.05)
    keys = sk.cluster(filters, k=3, axes=axes)
    bank = FilterBank.from_tensor(filters, axes=axes)
    assert keys.white_noise == sk.cluster(sk.white_noise_like(bank), k=3).explained
    assert keys.matched_noise == sk.cluster(sk.matched_noise_like(bank), k=3).explained
    assert keys.explained > max(keys.white_noise, keys.matched_noise)


def test_kernels_of_other_axes_are_left_out_with_a_note():
    bank = bank_of_mixed_axes()
    keys = sk.cluster(bank, k=3, controls=False)
    assert (keys.axes, keys.window) == (1, (16,))  # 90 filters of one axis, 60 of two, 20 of three
    clustered = [place < 40 or 100 <= place < 150 for place in range(170)]
    assert (keys.assignment >= 0).tolist() == clustered
    start = "the keys have one axis, as most filters have;"
    assert keys.notes == (
        f"{start} 60 filters of two axes are left out, and axes=2 takes them instead",
        f"{start} 20 filters of three axes are left out, and axes=3 takes them instead",
    )
    table = keys.to_pandas()
    assert (len(table), set(table.layer[table.key.notna()])) == (170, {"causal", "wide"})
    assert keys.coverage_by_layer().layer.tolist() == ["causal", "wide"]


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ({"axes": 2}, (5, 5)),
        ({"axes": 3}, (3, 3, 3)),
        ({"sizes": (4,)}, (4,)),
        ({"sizes": (5, 5)}, (5, 5)),
        ({"axes": 1, "sizes": "common"}, (4,)),
    ],
    ids=str,
)
def test_axes_that_are_asked_for_need_no_note(options, window):
    keys = sk.cluster(bank_of_mixed_axes(), k=2, controls=False, **options)
    assert (keys.window, keys.notes) == (window, ())


def test_layers_are_chosen_before_axes():
    keys = sk.cluster(bank_of_mixed_axes(), k=2, layers=["image", "causal"], controls=False)
    assert keys.window == (5, 5)
    assert len(keys.notes) == 1


def test_of_as_many_filters_the_larger_number_of_axes_is_taken():
    layers = (LayerFilters("a", random_filters(9, 5)), LayerFilters("b", random_filters(9, 3, 3)))
    assert sk.cluster(FilterBank(layers), k=2, controls=False).axes == 2


def test_even_kernels_of_several_sizes_keep_their_centre():
    rows, _ = unit_rows(random_filters(3, 4), (16,))
    assert (rows[:, :6] == 0).all()
    assert (rows[:, 10:] == 0).all()
    assert (rows[:, 6:10] != 0).all()


def test_a_mirrored_profile_is_the_same_key_with_symmetry():
    filters = random_filters(200, 6)
    options = {"k": 3, "axes": 1, "symmetry": "dihedral", "restarts": 2, "controls": False}
    plain, mirrored = sk.cluster(filters, **options), sk.cluster(filters.flip(-1), **options)
    torch.testing.assert_close(mirrored.filters, plain.filters, rtol=0, atol=1e-5)
    assert set(plain.transform.tolist()) == {0, 1}
    for number in range(200):
        key = plain.filters[plain.assignment[number]]
        image = key.flip(-1) if plain.transform[number] else key
        product = float(unit(filters[number : number + 1])[0] @ image)
        assert product == pytest.approx(float(plain.correlation[number]), abs=1e-12)


def test_a_cube_has_48_symmetries_which_are_a_group():
    moves = symmetries((3, 3, 3), "dihedral")
    assert len(moves) == 48
    images = {tuple(move) for move in moves.tolist()}
    assert len(images) == 48
    assert all(
        tuple(moves[one][moves[other]].tolist()) in images
        for one, other in itertools.product((1, 9, 22, 47), range(48))
    )
    taps = torch.arange(27).view(3, 3, 3)
    assert torch.equal(moves[8 * 1 + 0b101].view(3, 3, 3), taps.permute(0, 2, 1).flip(0, 2))


def test_turned_filters_of_three_axes_have_the_same_keys_with_symmetry():
    filters = random_filters(150, 3, 3, 3)
    options = {"k": 2, "axes": 3, "symmetry": "dihedral", "restarts": 1, "controls": False}
    plain, turned = sk.cluster(filters, **options), sk.cluster(filters.permute(0, 3, 1, 2).flip(2), **options)
    torch.testing.assert_close(turned.filters, plain.filters, rtol=0, atol=1e-5)
    assert torch.equal(turned.assignment, plain.assignment)


def test_sides_that_differ_have_no_quarter_turns():
    with pytest.raises(sk.ModelError, match=r"^kernels of 2x3x3 have no quarter turns"):
        sk.cluster(random_filters(9, 2, 3, 3), k=2, axes=3, symmetry="dihedral", sizes=(2, 3, 3))
    with pytest.raises(sk.FilterError, match=r"^a window of 1 holds no filter with a shape"):
        sk.cluster(random_filters(9, 1), k=2, axes=1)


@pytest.mark.parametrize("window", [(5,), (4,), (3, 3, 3), (2, 4, 6)], ids=str)
def test_keys_have_the_sign_of_the_smoothing_or_derivative_most_like_them(window):
    references = reference_rows(window)
    assert references.shape[0] == len(window) + 1
    signs = torch.tensor([1.0, -1.0] * 2, dtype=torch.float64)[: len(references), None]
    torch.testing.assert_close(in_standard_frame(references * signs, window, "none"), references)
    by_place = references.view(-1, *window)
    centre = tuple((side - 1) // 2 for side in window)
    assert by_place[(0, *centre)] > 0  # a smoothing is positive in its centre
    along_x = by_place[1].reshape(-1, window[-1]).mean(0)
    assert along_x[0] > along_x[-1]  # a derivative along x is positive to the left
    if len(window) > 1:
        along_y = by_place[2].mean((0, 2))
        assert along_y[0] < along_y[-1]  # and one along y below, as y points up


@pytest.mark.parametrize("window", [(6,), (3, 3, 3)], ids=str)
def test_all_images_of_a_key_have_one_frame(window):
    key = unit(random_filters(1, *window))
    images = key[0][symmetries(window, "dihedral")]
    framed = in_standard_frame(images, window, "dihedral")
    torch.testing.assert_close(framed, framed[:1].expand_as(framed))


def test_keys_of_other_axes_match_no_published_key():
    table = sk.cluster(random_filters(60, 5), k=3, axes=1, controls=False).match_published()
    assert table.key.tolist() == [0, 1, 2]
    assert table[["published", "family", "correlation"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("size", "names"), [((5,), ("dx", "smooth")), ((6,), ("dx", "smooth")), ((5, 5, 5), ("dz", "smooth"))], ids=str
)
def test_keys_get_their_models(size, names):
    axes = len(size)
    sigma = torch.full((axes,), 0.7, dtype=torch.float64)
    truth = torch.stack([template(name, sigma, size) for name in names])
    filters, _ = planted(truth, 200, seed=0, noise=0.0)
    fit = sk.cluster(filters, k=2, axes=axes, controls=False).fit()
    assert sorted(fit.family) == sorted(names)
    np.testing.assert_allclose(fit.r2, 1, atol=1e-9)
    assert (fit.amplitude > 0).all()  # the sign of a key is that of a smoothing or of a derivative
    np.testing.assert_allclose(fit.sigma, 0.7, atol=1e-4)
    assert fit.sigma.shape == (2, axes)


@pytest.mark.parametrize("size", [(6,), (3, 3, 3)], ids=str)
def test_the_number_of_planted_keys_is_found(size):
    filters, _ = planted(random_filters(3, *size), 1_500, seed=1, noise=0.1)
    choice = sk.choose_k(filters, range(2, 5), restarts=3, axes=len(size))
    assert choice.best == 3
    names = ["k", "explained", "white_noise", "matched_noise", "gap", "stability_restarts", "stability_halves"]
    assert choice.table.columns.tolist() == names
    assert (choice.table.explained > choice.table.matched_noise).all()
    np.testing.assert_allclose(
        choice.table.gap, np.log((1 - choice.table.white_noise) / (1 - choice.table.explained)), rtol=1e-6
    )


def test_a_choice_notes_what_is_left_out():
    choice = sk.choose_k(bank_of_mixed_axes(), (1, 2), restarts=1)
    assert len(choice.notes) == 2
    assert sk.choose_k(bank_of_mixed_axes(), (1, 2), restarts=1, axes=2).notes == ()
