"""Spread measures: the published table, and what mirrors and amplitudes do."""

import csv

import numpy as np
import pytest
import torch

import scalekeys as sk

# Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026: l1 norm, mean x, mean y, Vxx, Vxy, Vyy of the filters 1 to 8.
_PUBLISHED = [
    (2.4468, -0.0231, -0.6021, 1.7992, -0.0222, 1.6321),
    (2.5639, 0.5590, 0.0921, 1.3280, 0.0118, 1.4247),
    (2.7282, 0.0562, 0.6932, 1.5840, 0.0350, 1.3637),
    (2.3197, -0.5785, 0.0979, 1.6353, 0.0507, 1.2530),
    (4.4381, 0.0569, -0.0409, 3.8474, -0.0108, 1.8477),
    (3.8091, -0.0056, 0.0855, 1.6338, -0.0805, 3.3468),
    (1.9654, 0.0434, -0.0860, 1.2759, 0.0030, 1.5468),
    (3.0746, -0.0290, -0.0482, 2.3814, -0.0203, 2.3558),
]


def test_the_published_spread_is_reached_to_four_decimals():
    found = sk.spread(sk.master_keys())
    rows = torch.stack(
        [found.l1_norm, *found.mean.unbind(-1), *(found.covariance[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))], -1
    )
    np.testing.assert_allclose(rows, _PUBLISHED, atol=5.1e-5)


def test_the_keys_are_the_published_numbers(shared):
    with (shared / "method" / "master_key_filters.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        key = sk.master_keys()[int(row["filter"]) - 1]
        np.testing.assert_array_equal(key[3 - int(row["y"])], [float(row[f"x{x}"]) for x in range(-3, 4)])
    assert len(rows) == 56
    np.testing.assert_allclose(sk.master_keys().flatten(1).norm(dim=-1), 1.0, atol=2e-3)
    np.testing.assert_allclose(sk.master_keys().mean((-2, -1)), 0.0, atol=1e-3)


def test_mirroring_amplitude_and_transposition_do_what_they_must():
    filters = torch.randn(4, 3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, mirrored, scaled = sk.spread(filters), sk.spread(filters.flip(-1)), sk.spread(-2 * filters)
    assert plain.mean.shape == (4, 3, 2)
    np.testing.assert_allclose(mirrored.mean, plain.mean * torch.tensor([-1.0, 1.0]), atol=1e-12)
    np.testing.assert_allclose(scaled.l1_norm, 2 * plain.l1_norm)
    np.testing.assert_allclose(scaled.covariance, plain.covariance, atol=1e-12)
    turned = sk.spread(torch.rot90(filters, 1, dims=(-2, -1)))  # counter-clockwise: (x, y) becomes (-y, x)
    np.testing.assert_allclose(turned.mean, torch.stack([-plain.mean[..., 1], plain.mean[..., 0]], -1), atol=1e-12)


def test_a_zero_filter_has_no_mean_and_numpy_is_accepted():
    found = sk.spread(np.zeros((1, 3, 3)))
    assert found.l1_norm[0] == 0
    assert torch.isnan(found.mean).all()


def test_an_even_window_has_its_centre_between_two_pixels():
    np.testing.assert_allclose(sk.spread(torch.ones(4, 2)).mean, 0.0, atol=1e-7)


def test_a_vector_is_refused():
    with pytest.raises(sk.FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(3,\)"):
        sk.spread(torch.zeros(3))
