"""How much of a filter a few outer products hold."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import scalekeys as sk
from scalekeys.errors import FilterError


def filters(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [(7, 7), (3, 5), (6, 2), (1, 4)])
def test_the_shares_are_those_of_the_best_approximations(size):
    batch = filters(4, 3, *size)
    shares = sk.separability(batch)
    assert shares.shape == (4, 3, min(size))
    for filter_, mine in zip(batch.flatten(0, 1).numpy(), shares.flatten(0, 1), strict=True):
        left, values, right = np.linalg.svd(filter_, full_matrices=False)
        for rank in range(1, min(size) + 1):
            rest = filter_ - (left[:, :rank] * values[:rank]) @ right[:rank]
            assert 1 - np.square(rest).sum() / np.square(filter_).sum() == pytest.approx(float(mine[rank - 1]))


def test_a_sum_of_so_many_products_is_of_that_rank():
    columns, rows = filters(3, 9, 5), filters(3, 9, 7)
    products = columns[..., :, None] * rows[..., None, :]
    for rank in (1, 2, 3):
        shares = sk.separability(products[:rank].sum(0))
        assert_close(shares[:, rank - 1 :], torch.ones(9, 6 - rank, dtype=torch.float64))
        assert (shares[:, : rank - 1] < 1 - 1e-6).all()


def test_turning_mirroring_and_scaling_change_nothing():
    batch = filters(5, 6, 4)
    for other in (batch.mT, batch.flip(-1), -batch, batch * 1e300, batch * 1e-300):
        assert_close(sk.separability(other), sk.separability(batch))
    assert_close(sk.separability(batch.float()), sk.separability(batch).float())


def test_filters_without_energy_or_with_a_hole_are_nan_and_spoil_no_other():
    batch = filters(4, 3, 3)
    batch[0], batch[1, 2, 2], batch[2, 0, 1] = 0, torch.nan, torch.inf
    shares = sk.separability(batch)
    assert shares[:3].isnan().all()
    assert_close(shares[3], sk.separability(batch[3]))
    assert sk.separability(np.empty((0, 3, 5))).shape == (0, 3)


def test_a_filter_of_one_axis_is_refused():
    with pytest.raises(FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(5,\)"):
        sk.separability(torch.ones(5))
