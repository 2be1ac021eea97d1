"""With a fixed amplitude two scales trade against each other, and basins lie beside each other in a slanted valley."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import moment_normalization
from scalekeys.scalespace import template_plan

PUBLISHED = {"normalization": "moment", "window": "published"}


def lowest_of_scan(filters, norm, values=48):
    """Return the least distance to a template of `dy` over pairs of scales up to the side of the kernel."""
    side = filters.shape[-1]
    u = torch.linspace(0.0, side / (side + 1), values, dtype=torch.float64)
    variances = torch.cartesian_prod(side * u / (1 - u), side * u / (1 - u))
    templates = template_plan("dy", (side, side), "published")(variances)[:, 0].flatten(1)
    amplitude = moment_normalization(filters, "dy").amplitude[:, None]
    return (torch.cdist(filters.flatten(1) / amplitude, templates, p=norm) * amplitude.abs()).amin(-1)


def test_no_pair_of_scales_is_better_than_that_found():
    draw = 1.3 + torch.randn(3000, 9, 9, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    filters = draw[[690, 2959, *range(200)]]  # the best scales of the first two lie in a basin beside a wider one
    found = sk.fit(filters, "dy", **PUBLISHED).residual_l2
    assert (found <= lowest_of_scan(filters, 2) * (1 + 1e-12)).all()
    few = filters[:20]
    found = sk.fit(few, "dy", criterion="l1", **PUBLISHED).residual_l1
    assert (found <= lowest_of_scan(few, 1) * (1 + 1e-12)).all()


@pytest.mark.parametrize(("criterion", "norm"), [("l1", 1), ("l2", 2)])
def test_the_better_of_two_basins_of_a_known_filter_is_found(shared, criterion, norm):
    filters = torch.from_numpy(np.load(shared / "cases" / "fits" / "miss_dy.npy"))[None]
    fit = sk.fit(filters, "dy", criterion=criterion, **PUBLISHED)
    residual = fit.residual_l1 if criterion == "l1" else fit.residual_l2
    assert float(residual[0]) <= float(lowest_of_scan(filters, norm, 200)[0])
    if criterion == "l2":
        assert float(residual[0]) ** 2 == pytest.approx(357.1426, abs=1e-4)
        assert fit.sigma[0].tolist() == pytest.approx([1.141, 4.849], abs=1e-3)
