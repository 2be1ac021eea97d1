"""Bad input gets one clear sentence."""

import pytest
import torch
from planted_filters import bank_of_several_sizes, random_truth

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"k": 2.5}, "k must be a whole number of at least 1, got 2.5"),
        ({"k": float("nan")}, "k must be a whole number of at least 1, got nan"),
        ({"k": float("inf")}, "k must be a whole number of at least 1, got inf"),
        ({"k": None}, "k must be a whole number of at least 1, got None"),
        ({"k": "8"}, "k must be a whole number of at least 1, got '8'"),
        ({"seed": 2**45}, "seed must be at most 4294967295, got 35184372088832"),
        ({"restarts": 0}, "restarts must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"weighting": "norm"}, "weighting must be one of 'equal', 'energy', got 'norm'"),
        ({"symmetry": "mirror"}, "symmetry must be one of 'none', 'dihedral', got 'mirror'"),
        ({"sizes": "smallest"}, r"unknown sizes 'smallest'; choose largest, common or a size such as \(7, 7\)"),
        ({"sizes": (7, 0)}, r"sizes must be largest, common or a size such as \(7, 7\), got \(7, 0\)"),
        ({"sizes": ()}, r"sizes must be largest, common or a size such as \(7, 7\), got \(\)"),
        ({"sizes": (7, 7, 7, 7)}, r"sizes must be largest, common or a size such as \(7, 7\), got \(7, 7, 7, 7\)"),
        ({"axes": 4}, "axes must be 1, 2 or 3, got 4"),
        ({"axes": 1, "sizes": (7, 7)}, r"sizes=\(7, 7\) has two axes, and axes is 1; give one of them"),
        ({"sizes": 7}, r"sizes must be largest, common or a size such as \(7, 7\), got 7"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ],
    ids=str,
)
def test_unknown_options(options, sentence):
    with pytest.raises(sk.ModelError, match=f"^{sentence}$"):
        sk.cluster(random_truth(9), **({"k": 2} | options))


def test_a_seed_that_no_float_can_hold():
    with pytest.raises(sk.ModelError, match=r"^seed must be at most 4294967295, got 1000"):
        sk.cluster(random_truth(9), seed=10**400)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"k": 101}, "cannot find 101 keys in 100 usable filters of 100; ask for fewer"),
        ({"sizes": (6, 6)}, "no layer has kernels of 6x6; the sizes are 7x7, 5x5, 4x4, 3x3"),
        (
            {"layers": "blocks.*"},
            r"no layer is called 'blocks.\*'; the layers are stage0.dw, stage1.dw, stage2.dw, stage3.dw, stage4.dw",
        ),
        ({"layers": ["a", "b"]}, "no layer is called 'a' or 'b'; the layers are stage0.dw, .*"),
        ({"layers": []}, "no layer was chosen: layers is empty; the layers are stage0.dw, .*"),
        ({"layers": "stage0*", "sizes": (7, 7)}, "no layer has kernels of 7x7; the sizes are 3x3"),
        ({"sizes": (7,)}, "no layer has kernels of one axis; the sizes are 7x7, 5x5, 4x4, 3x3"),
        ({"axes": 3}, "no layer has kernels of three axes; the sizes are 7x7, 5x5, 4x4, 3x3"),
    ],
    ids=str,
)
def test_nothing_to_cluster(options, sentence):
    with pytest.raises(sk.FilterError, match=f"^{sentence}$"):
        sk.cluster(bank_of_several_sizes(), **({"k": 2} | options))


def test_many_layers_are_not_all_listed():
    layers = tuple(LayerFilters(f"l{number}", random_truth(2)) for number in range(12))
    with pytest.raises(sk.FilterError, match=r"the layers are l0, .*, l7 and 4 more$"):
        sk.cluster(FilterBank(layers), layers="x")


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        (torch.zeros(4, 3, 3), "none of the 4 filters can be clustered: all are constant or not finite"),
        (torch.full((4, 3, 3), torch.nan), "none of the 4 filters can be clustered: all are constant or not finite"),
        (
            torch.full((4, 3, 3), 1e-41).tril(),
            "none of the 4 filters can be clustered: all are constant, negligible or not finite",
        ),
        (torch.zeros(0, 3, 3), "there are no filters to cluster"),
        (FilterBank(()), "there are no filters to cluster"),
        ([], "there are no filters to cluster"),
        (torch.zeros(5), r"filters must have shape \(..., rows, cols\), got \(5,\)"),
        (
            [torch.zeros(3, 3)],
            r"expected a FilterBank, several of them, or an array of shape \(..., \*sides\), got a list of Tensor",
        ),
        ("network.pth", r"expected a FilterBank, several of them, or an array of shape \(..., \*sides\), got str"),
        (3, r"expected a FilterBank, several of them, or an array of shape \(..., \*sides\), got int"),
        (
            torch.randn(5, 1, 1, generator=torch.Generator().manual_seed(0)),
            "a window of 1x1 holds no filter with a shape; choose sizes='largest' or one size",
        ),
    ],
    ids=str,
)
def test_no_usable_filters(filters, sentence):
    with pytest.raises(sk.FilterError, match=f"^{sentence}$"):
        sk.cluster(filters, k=1)


def test_quarter_turns_of_an_oblong_kernel():
    with pytest.raises(
        sk.ModelError, match=r"^kernels of 1x7 have no quarter turns, so symmetry='dihedral' is not for them$"
    ):
        sk.cluster(
            torch.randn(9, 1, 7, generator=torch.Generator().manual_seed(0)), k=2, symmetry="dihedral", sizes=(1, 7)
        )


def test_choosing_among_no_numbers():
    with pytest.raises(sk.ModelError, match=r"^there is no number of keys to try; ks is empty$"):
        sk.choose_k(random_truth(9), [])
    with pytest.raises(sk.ModelError, match=r"^k must be a whole number of at least 1, got 0$"):
        sk.choose_k(random_truth(9), range(3))
    with pytest.raises(sk.FilterError, match=r"^cannot look for 5 keys in each half of 9 usable filters; try fewer$"):
        sk.choose_k(random_truth(9), (2, 5))
    with pytest.raises(sk.FilterError, match=r"^cannot find 16 keys in 9 usable filters of 9; ask for fewer$"):
        sk.choose_k(random_truth(9))
