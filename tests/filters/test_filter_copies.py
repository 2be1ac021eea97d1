"""Copies up to a factor and an offset: which are found, and what is made of them."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import copies


def bank_of(*layers):
    return sk.FilterBank(tuple(sk.LayerFilters(f"layer {number}", one) for number, one in enumerate(layers)))


@pytest.fixture
def filters():
    """Six filters of white noise, of which the last two are almost the first, up to a factor and an offset."""
    filters = torch.randn(6, 5, 5, generator=torch.Generator().manual_seed(0))
    change = 0.01 * torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(1))
    filters[4:] = torch.tensor([-3.0, 0.5])[:, None, None] * filters[0] + change + 7
    return filters


def test_copies_are_made_from_the_filter_that_numpy_fits_best(filters):
    found = copies(bank_of(filters))
    assert found.original.tolist() == [-1, -1, -1, -1, 0, 0]
    assert found.family.tolist() == ["", "", "", "", "copy", "copy"]
    design = np.stack([filters[0].double().numpy().ravel(), np.ones(25)], 1)
    for index in (4, 5):
        wanted = design @ np.linalg.lstsq(design, filters[index].double().numpy().ravel(), rcond=None)[0]
        made = found.kernels().layers[0].kernels[index].numpy().ravel()
        assert made == pytest.approx(wanted, abs=1e-5)
        correlation = np.corrcoef(design[:, 0], filters[index].numpy().ravel())[0, 1]
        assert found.r2[index] == pytest.approx(correlation**2)


def test_what_is_no_copy_stays(filters):
    chosen = sk.replacement(copies(bank_of(filters)))
    assert torch.equal(chosen.filters.layers[0].kernels[:4], filters[:4])
    assert chosen.numbers.tolist() == [25] * 4 + [3] * 2


def test_a_copy_is_never_copied():
    """Each of three filters is like its neighbour, but the third is not like the first."""
    turn = torch.tensor([0.0, 0.12, 0.24])
    one, other = torch.randn(2, 25, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = one - one.mean()
    other = other - other.mean()
    other = other - (other @ one) / (one @ one) * one
    pair = torch.stack([one / one.norm(), other / other.norm()])
    chain = torch.stack([turn.cos(), turn.sin()], 1).double() @ pair
    assert copies(bank_of(chain.view(3, 5, 5))).original.tolist() == [-1, 0, -1]


def test_layers_are_searched_alone(filters):
    assert copies(bank_of(filters[:1], filters[4:5])).original.tolist() == [-1, -1]


def test_dead_constant_unreadable_and_small_filters_are_no_copies(filters):
    filters[1], filters[2], filters[3, 0, 0] = 0, 5, torch.nan
    filters[4] *= 1e-9
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    assert copies(bank_of(filters, rows)).original.tolist() == [-1, -1, -1, -1, -1, 0] + [-1] * 8
