"""Fits along any angle: the angle comes round, and tables hold the scales along it and across it."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.scalespace import families, template_plan


def planted(name, parameters, size=(7, 7)):
    return template_plan(name, size)(torch.tensor(parameters, dtype=torch.float64))[:, 0]


@pytest.mark.parametrize("name", ["dphi", "dphiphi"])
def test_an_angle_at_an_end_of_the_search_is_no_bound(name):
    fit = sk.fit(planted(name, [[0.8, 0.5, 0.0], [0.8, 0.5, np.pi]]), name)
    distance = torch.minimum(fit.angle, np.pi - fit.angle)
    np.testing.assert_allclose(distance, [0.0, 0.0], atol=1e-4)
    assert set(fit.status) == {"ok"}
    assert set(fit.sigma_status.ravel()) == {"ok"}


def test_only_an_angle_comes_round():
    for name, family in families(2).items():
        assert family.parametrization.periodic == (("angle",) if "angle" in family.parametrization.names else ()), name


def test_tables_hold_the_scales_along_and_across_the_angle():
    fit = sk.fit(planted("dphi", [[0.81, 0.49, 0.6]]), "dphi")
    table = fit.to_pandas()
    np.testing.assert_allclose(table[["sigma_along", "sigma_across", "angle"]], [[0.9, 0.7, 0.6]], atol=1e-3)
    assert sk.fit(sk.master_keys(), "smooth").to_pandas()[["sigma_along", "sigma_across"]].isna().to_numpy().all()
