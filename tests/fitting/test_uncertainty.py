"""Standard errors of the scales, and where they mean nothing."""

import numpy as np
import torch

import scalekeys as sk
from scalekeys.scalespace import template


def test_the_standard_error_is_the_spread_over_noisy_copies():
    sigma = torch.tensor([0.9, 1.1], dtype=torch.float64)
    clean = template("dx", sigma, 9)
    noise = torch.randn(2000, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for normalization in ("affine", "moment"):
        if normalization == "moment":  # its amplitude is fixed: noise that does not move it
            noise = noise - noise.mean((-2, -1), keepdim=True)
        fit = sk.fit(clean + 0.003 * noise, "dx", normalization="affine")
        spread = fit.sigma.std(0)
        np.testing.assert_allclose(fit.sigma_error.mean(0), spread, rtol=0.1)


def test_a_sharpening_has_the_error_of_a_fit_in_both_parameters():
    clean = template("sharpen", torch.full((2,), 0.8, dtype=torch.float64), 7, alpha=0.6)
    noise = torch.randn(2000, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fit = sk.fit(clean + 0.002 * noise, "sharpen")
    np.testing.assert_allclose(fit.sigma_error.mean(0), fit.sigma.std(0), rtol=0.15)


def test_a_common_scale_is_known_better_than_one_of_two():
    key = sk.master_keys()[7]
    both, each = sk.fit(key, "smooth", scales="common"), sk.fit(key, "smooth")
    assert (both.sigma_error < each.sigma_error).all()


def test_ends_of_the_range_and_flat_objectives_are_named():
    impulse = torch.zeros(7, 7, dtype=torch.float64)
    impulse[3, 3] = 1
    assert sk.fit(impulse, "smooth").sigma_status.tolist() == [["at-zero", "at-zero"]]
    x = torch.arange(-3.0, 4.0, dtype=torch.float64)
    bowl = 1 - 1e-3 * (x[:, None] ** 2 + x**2)
    assert sk.fit(bowl, "smooth").sigma_status.tolist() == [["at-bound", "at-bound"]]
    # A horizontal ramp says nothing about the scale across it in a window of 3 x 3 with noise.
    noise = torch.randn(400, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert "flat" in sk.fit(noise, "dx").sigma_status


def test_only_least_squares_of_single_filters_have_errors():
    for options in ({"criterion": "l1"}, {"criterion": "variance"}, {"scales": "shared"}):
        fit = sk.fit(sk.master_keys(), **options)
        assert fit.sigma_error.isnan().all()
        assert set(fit.sigma_status.ravel()) == {""}


def test_an_axis_of_one_tap_has_neither_error_nor_word():
    fit = sk.fit(torch.randn(3, 1, 7, generator=torch.Generator().manual_seed(0)), "smooth")
    assert fit.sigma_error[:, 1].isnan().all()
    assert set(fit.sigma_status[:, 1]) == {""}


def test_errors_and_words_stand_in_the_table():
    table = sk.fit(sk.master_keys()).to_pandas()
    assert (table.sigma_x_error > 0).all()
    assert set(table.sigma_y_status) == {"ok"}
