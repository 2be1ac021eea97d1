"""One scale for a group of filters."""

import numpy as np
import pytest
import torch
from scipy import optimize

import scalekeys as sk
from independent import least_absolute
from scalekeys.scalespace import template

KEYS, OWN = sk.master_keys(), sk.MASTER_KEY_FAMILIES
PAPER = {"normalization": "moment", "window": "published", "families": OWN, "scales": "shared"}
GROUPS = ([0, 1, 2, 3, 7], [4, 5])


def _summed(members, sigma, power):
    """Summed loss of some keys at common scales, one value for each."""
    scales = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1).expand(-1, 2)
    total = torch.zeros(len(scales), dtype=torch.float64)
    for i in members:
        normal = sk.moment_normalization(KEYS[i], OWN[i]).filters
        total += (template(OWN[i], scales, 7, window="published") - normal).abs().pow(power).sum((-2, -1))
    return total


@pytest.mark.parametrize(("criterion", "power"), [("l1", 1), ("l2", 2)])
def test_the_paper_s_groups_share_the_scale_with_the_least_summed_error(criterion, power):
    fit = sk.fit(KEYS, criterion=criterion, **PAPER)
    for members in GROUPS:
        sigma = fit.sigma[members].flatten()
        np.testing.assert_allclose(sigma, sigma[0].expand(len(sigma)), rtol=1e-12)
        found = float(_summed(members, sigma[0], power))
        assert found <= float(_summed(members, np.linspace(0, 3, 301), power).min()) + 1e-9
        best = optimize.minimize_scalar(
            lambda s, m=members: float(_summed(m, s, power)),
            bounds=(float(sigma[0]) - 0.1, float(sigma[0]) + 0.1),
        )
        assert found <= best.fun * (1 + 1e-6)
    alone = sk.fit(KEYS[6], "sharpen", criterion=criterion, normalization="moment", window="published")
    assert float(fit.sigma[6, 0]) == pytest.approx(float(alone.sigma[0, 0]), rel=1e-9)


@pytest.mark.parametrize("criterion", ["variance", "variance-continuous"])
def test_widths_share_the_geometric_mean_of_all_scales(criterion):
    options = {"normalization": "moment", "window": "published", "families": OWN, "criterion": criterion}
    fit, alone = sk.fit(KEYS, scales="shared", **options), sk.fit(KEYS, **options)
    for members in GROUPS:
        expected = alone.sigma[members].log().mean().exp()
        np.testing.assert_allclose(fit.sigma[members], expected.expand(len(members), 2), rtol=1e-12)


def test_groups_by_label_layer_family_and_all():
    filters = torch.cat([KEYS, KEYS.flip(0)])
    bank = sk.FilterBank((sk.LayerFilters("a", filters[:8]), sk.LayerFilters("b", filters[8:], depth=1)), model="net")
    everything = sk.fit(bank, "smooth", scales="shared", groups="all")
    assert len(set(everything.sigma.flatten().tolist())) == 1
    layers = sk.fit(bank, "smooth", scales="shared", groups="layer")
    assert [len(set(part.tolist())) for part in layers.sigma[:, 0].split(8)] == [1, 1]
    apart = sk.fit(filters[:8] * torch.linspace(1, 2, 8)[:, None, None], "smooth", scales="shared", groups="all")
    np.testing.assert_allclose(layers.sigma[:8], apart.sigma, rtol=1e-6)
    families = sk.fit(bank, ("dx", "dy", "smooth"), scales="shared", groups="family")
    assert len(set(zip(families.family, families.sigma[:, 0].tolist(), strict=True))) == len(set(families.family))
    labels = ["u", "u", None, None, *range(12)]
    mixed, alone = sk.fit(bank, scales="shared", groups=labels), sk.fit(bank, scales="common")
    assert mixed.sigma[0, 0] == mixed.sigma[1, 0]
    np.testing.assert_allclose(mixed.sigma[2:], alone.sigma[2:], rtol=1e-12)


def test_sharpening_in_a_group_keeps_a_strength_of_its_own():
    sigma = torch.full((1, 2), 0.7, dtype=torch.float64)
    kernels = torch.cat([template("sharpen", sigma, 7, alpha=a) for a in (0.3, 0.8)])
    fit = sk.fit(torch.cat([kernels, template("smooth", sigma, 7)]), scales="shared", groups="all")
    assert fit.family.tolist() == ["sharpen", "sharpen", "smooth"]
    np.testing.assert_allclose(fit.sigma, np.full((3, 2), 0.7), atol=1e-4)
    np.testing.assert_allclose(fit.alpha[:2], [0.3, 0.8], atol=1e-3)


@pytest.mark.parametrize("criterion", ["l1", "l2"])
@pytest.mark.parametrize("normalization", ["moment", "affine"])
def test_at_a_shared_scale_the_strength_is_the_best_of_a_dense_grid(criterion, normalization):
    noise = torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    filters = torch.cat([KEYS[6:8], KEYS[6:7] + 0.05 * noise])
    options = {"criterion": criterion, "normalization": normalization}
    names = ["sharpen", "smooth", "sharpen", "sharpen"]
    fit = sk.fit(filters, families=names, scales="shared", groups="all", **options)
    for index in (0, 2, 3):
        alpha = torch.linspace(0, 3, 41, dtype=torch.float64)
        kernels = template("sharpen", fit.sigma[index].expand(41, 2), 7, alpha=alpha)
        lowest = min(_left(filters[index], kernel, **options) for kernel in kernels)
        found = fit.residual_l1[index] if criterion == "l1" else fit.residual_l2[index] ** 2
        assert float(found) <= lowest * (1 + 1e-6)


def _left(filter_, kernel, criterion, normalization):
    """Loss of one filter for one template, with its best amplitude and offset, or those of the moments."""
    if normalization == "moment":
        normal = sk.moment_normalization(filter_, "sharpen")
        left = filter_ - normal.offset - normal.amplitude * kernel
        return float(left.abs().sum() if criterion == "l1" else left.square().sum())
    target = filter_.flatten().numpy()
    if criterion == "l2":
        columns = np.stack([kernel.flatten().numpy(), np.ones(kernel.numel())], 1)
        return float(np.linalg.lstsq(columns, target, rcond=None)[1][0])
    return least_absolute(target, kernel.flatten().numpy())


def test_labels_may_be_a_tensor_or_an_array():
    labels = [1, 1, 1, 1, 2, 2, 3, 1]
    expected = sk.fit(KEYS, scales="shared", groups=labels)
    for given in (torch.tensor(labels), np.array(labels), (label for label in labels)):
        np.testing.assert_array_equal(sk.fit(KEYS, scales="shared", groups=given).sigma, expected.sigma)
    families = sk.fit(KEYS, families=np.array(OWN)).family
    assert families.tolist() == list(OWN)


def test_a_width_that_tells_no_scale_spoils_no_group():
    # On three taps a centred difference is as wide at every scale: that scale is the one of least squares.
    filters = torch.randn(6, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone = sk.fit(filters, "dx", criterion="variance", normalization="moment")
    squares = sk.fit(filters, "dx", normalization="moment")
    np.testing.assert_allclose(alone.sigma[:, 0], squares.sigma[:, 0], atol=1e-9)
    smooth = template("smooth", torch.full((2, 2), 0.8).double(), 3)
    shared = sk.fit(smooth, ("dx", "smooth"), criterion="variance", scales="shared", groups="all")
    assert (shared.sigma > 0.5).all()


def test_filters_without_a_fit_are_in_no_group():
    filters = KEYS.clone()
    filters[1] = 0.0
    fit = sk.fit(filters, scales="shared", groups="all")
    assert fit.sigma[1].isnan().all()
    assert fit.sigma[[0, 2]].isfinite().all()


@pytest.mark.parametrize("criterion", ["l2", "l1", "variance"])
@pytest.mark.parametrize("groups", ["all", "layer", "family"])
def test_filters_of_which_none_has_a_fit_share_nothing(criterion, groups):
    fit = sk.fit(torch.zeros(3, 5, 5), criterion=criterion, scales="shared", groups=groups)
    assert fit.status.tolist() == ["zero-filter"] * 3
    assert fit.sigma.isnan().all()
