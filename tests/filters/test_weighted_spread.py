"""Weighted spread: what a weight does, and which weights are refused."""

import numpy as np
import pytest
import torch

import scalekeys as sk


def test_a_weight_of_one_changes_nothing():
    plain, weighted = sk.spread(sk.master_keys()), sk.spread(sk.master_keys(), weight=torch.ones(7, 7))
    np.testing.assert_array_equal(plain.mean, weighted.mean)
    np.testing.assert_array_equal(plain.covariance, weighted.covariance)


def test_a_weight_counts_like_the_filter_itself():
    rng = np.random.default_rng(0)
    filters, weight = rng.standard_normal((4, 5, 5)), rng.random((5, 5))
    weighted, product = sk.spread(filters, weight=weight), sk.spread(filters * weight)
    np.testing.assert_allclose(weighted.l1_norm, product.l1_norm)
    np.testing.assert_allclose(weighted.covariance, product.covariance, atol=1e-14)


def test_a_window_of_zeros_cuts_off():
    weight = torch.zeros(7, 7)
    weight[2:5, 2:5] = 1
    small = sk.spread(sk.master_keys()[:, 2:5, 2:5])
    np.testing.assert_allclose(sk.spread(sk.master_keys(), weight=weight).covariance, small.covariance, atol=1e-14)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(5, 5), r"the weight must be broadcastable to the filters, got \(5, 5\) for filters of shape"),
        (torch.full((7, 7), -1.0), "the weight must be finite and at least 0 everywhere"),
        (torch.full((7, 7), torch.nan), "the weight must be finite and at least 0 everywhere"),
    ],
)
def test_a_weight_that_is_none_is_refused(weight, message):
    with pytest.raises(sk.FilterError, match=message):
        sk.spread(sk.master_keys(), weight=weight)
