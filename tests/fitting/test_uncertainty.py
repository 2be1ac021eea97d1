"""Standard errors of the scales, and where they mean nothing."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.scalespace import template


@pytest.mark.parametrize("normalization", ["affine", "moment"])
@pytest.mark.parametrize("name", ["dx", "dx+", "dy-", "smooth"])
def test_the_standard_error_is_the_spread_over_noisy_copies(name, normalization):
    clean = template(name, torch.tensor([0.7, 0.6], dtype=torch.float64), 7)
    noise = torch.randn(2000, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fit = sk.fit(clean + 0.003 * noise, name, normalization=normalization)
    # The DC offset of the moments counts as known, which it is not quite.
    rough = name == "smooth" and normalization == "moment"
    np.testing.assert_allclose(fit.sigma_error.mean(0), fit.sigma.std(0), rtol=0.25 if rough else 0.15)


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
    assert sk.fit(bowl, "smooth").sigma_status.tolist() == [["infinite", "infinite"]]
    # On three taps a centred difference has the same shape at every scale along its axis.
    noise = torch.randn(400, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fit = sk.fit(noise, "dx")
    assert set(fit.sigma_status[:, 0]) == {"flat"}
    assert (fit.sigma[:, 0] == 0).all()
    assert fit.sigma_error[:, 0].isnan().all()
    assert set(fit.sigma_status[:, 1]) <= {"ok", "flat", "at-zero", "infinite"}
    assert ((fit.status == "polynomial") == (fit.sigma_status[:, 1] == "infinite")).all()


def test_only_least_squares_of_single_filters_have_errors():
    for options in ({"criterion": "l1"}, {"criterion": "variance"}, {"scales": "shared"}):
        fit = sk.fit(sk.master_keys(), **options)
        assert fit.sigma_error.isnan().all()
        assert set(fit.sigma_status.ravel()) == {""}


@pytest.mark.parametrize("scales", ["per-axis", "common"])
def test_an_axis_of_one_tap_has_neither_error_nor_word_and_spoils_not_the_other(scales):
    clean = template("smooth", torch.tensor([0.9, 1.1], dtype=torch.float64), (1, 7))
    noise = torch.randn(300, 1, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fit = sk.fit(clean + 0.001 * noise, "smooth", scales=scales)
    assert fit.sigma_error[:, 1].isnan().all()
    assert set(fit.sigma_status[:, 1]) == {""}
    assert set(fit.sigma_status[:, 0]) == {"ok"}
    np.testing.assert_allclose(fit.sigma_error[:, 0].square().mean().sqrt(), fit.sigma[:, 0].std(), rtol=0.12)


def test_errors_and_words_stand_in_the_table():
    table = sk.fit(sk.master_keys()).to_pandas()
    assert (table.sigma_x_error > 0).all()
    assert set(table.sigma_y_status) == {"ok"}
