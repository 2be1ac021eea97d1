"""Fits of kernels of one, two and three axes and of any sides: what was planted comes back, in banks that mix them."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.scalespace import families, ideal, second_order, template, template_plan

SIZES = [(5,), (8,), (9,), (5, 5), (6, 6), (7, 7), (4, 5), (3, 3, 3), (3, 4, 5)]
COUNT = 6

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise(count, *size, seed=0):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def per_filter(values, axes):
    return values.reshape(-1, *(1,) * axes)


def planted(name, size, seed=0):
    """Receptive fields of a family at random scales, and what `template` took."""
    axes = len(size)
    sigma, options = 0.4 + 0.8 * random(COUNT, axes, seed=seed), {}
    if name == "sharpen":
        sigma = sigma[:, :1].expand(-1, axes).contiguous()
        options = {"alpha": 0.2 + random(COUNT, seed=seed + 1)}
    return template(name, sigma, size, **options), sigma, options.get("alpha")


@sizes
def test_planted_families_come_back_with_scales_amplitudes_and_offsets(size):
    axes = len(size)
    for seed, name in enumerate(ideal(axes)):
        kernels, sigma, alpha = planted(name, size, seed)
        amplitude, offset = noise(2, COUNT, seed=seed)
        fit = sk.fit(per_filter(amplitude, axes) * kernels + per_filter(offset, axes), axes=axes)
        assert (fit.r2 > 1 - 1e-11).all()
        if name == "sharpen" and size == (5,):
            continue  # of few taps, which a smoothing can match as well
        assert set(fit.family) == {name}
        assert set(fit.status) == {"ok"}
        # On three taps a centred difference has the same form at every scale, and the amplitude says which.
        seen = fit.sigma_status != "flat"
        assert [axis for axis in range(axes) if not seen[:, axis].all()] == [
            axis for axis in range(axes) if size[::-1][axis] == 3 and name == f"d{'xyz'[axis]}"
        ]
        np.testing.assert_allclose(fit.sigma[seen], sigma[seen], atol=1e-6)
        np.testing.assert_allclose(fit.offset, offset, atol=1e-6)
        if seen.all():
            np.testing.assert_allclose(fit.amplitude, amplitude, rtol=1e-6)
        if alpha is not None:
            np.testing.assert_allclose(fit.alpha, alpha, rtol=1e-6)


@pytest.mark.parametrize("size", [(9,), (8,), (6, 6), (7, 7), (5, 4, 5)], ids=str)
def test_planted_second_derivatives_come_back(size):
    axes = len(size)
    for seed, name in enumerate(second_order(axes)):
        kernels, sigma, _ = planted(name, size, seed)
        fit = sk.fit(3 * kernels - 1, "second-order", axes=axes)
        assert set(fit.family) == {name}
        np.testing.assert_allclose(fit.sigma, sigma, atol=1e-6)
        np.testing.assert_allclose(fit.amplitude, np.full(COUNT, 3.0), rtol=1e-5)


@pytest.mark.parametrize("size", [(11,), (8,), (6, 6), (7, 7), (5, 5, 5)], ids=str)
def test_planted_mixtures_and_differences_of_scales_come_back(size):
    axes = len(size)
    inner, gap = 0.4 + 0.4 * random(COUNT), 0.5 + random(COUNT, seed=1)
    fit = sk.fit(2 * template("dog", torch.stack([inner, inner + gap], -1), size), "dog", axes=axes)
    np.testing.assert_allclose(fit.sigma, inner[:, None].expand(-1, axes), atol=1e-5)
    np.testing.assert_allclose(fit.sigma_outer, inner + gap, atol=1e-4)
    np.testing.assert_allclose(fit.amplitude, np.full(COUNT, 2.0), rtol=1e-4)
    sigma = 0.5 + 0.6 * random(COUNT, axes, seed=2)
    components = template_plan("jet1", size)(sigma.square())
    weights = noise(COUNT, axes + 1, seed=3)
    filters = torch.einsum("nc,nc...->n...", weights, components) + 0.3
    fit = sk.fit(filters, "jet1", axes=axes)
    assert (fit.r2 > 1 - 1e-11).all()
    assert fit.sigma_outer.isnan().all()
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-5)
    np.testing.assert_allclose(fit.coefficients, weights, atol=1e-4)
    np.testing.assert_allclose(fit.offset, np.full(COUNT, 0.3), atol=1e-4)


def mixed_bank():
    layers = (
        LayerFilters("time", noise(4, 4, seed=9).float()),
        LayerFilters("space", sk.master_keys().float(), stride=2, depth=1),
        LayerFilters("video", noise(3, 3, 3, 3, seed=10), depth=2),
        LayerFilters("long", noise(2, 31, seed=11), dilation=2, depth=3),
        LayerFilters("patch", noise(2, 8, 8, seed=12), depth=4),
    )
    return FilterBank(layers, model="mixed")


def test_layers_of_several_numbers_of_axes_are_fitted_as_if_each_were_alone():
    bank = mixed_bank()
    fit = sk.fit(bank)
    assert fit.sigma.shape == (19, 3)
    assert fit.axes == 3
    start = 0
    for layer in bank:
        rows = slice(start, start + len(layer))
        alone = sk.fit(FilterBank((layer,), model="one"))
        assert list(fit.family[rows]) == list(alone.family)
        np.testing.assert_allclose(fit.r2[rows], alone.r2, atol=1e-9)
        assert fit.sigma[rows, layer.axes :].isnan().all()
        assert (fit.sigma_status[rows, layer.axes :] == "").all()
        np.testing.assert_allclose(fit.sigma[rows, : layer.axes].isinf(), alone.sigma.isinf())
        assert set(fit.family[rows]) <= set(ideal(layer.axes))
        start += len(layer)


def test_the_table_of_a_mixed_bank_has_empty_places_for_axes_that_are_not_there():
    fit = sk.fit(mixed_bank())
    table = fit.to_pandas()
    lines, planes, volumes = (
        table[table.layer.isin(names)] for names in (("time", "long"), ("space", "patch"), ("video",))
    )
    for column in ("kernel_height", "sigma_y", "sigma_y_error"):
        assert lines[column].isna().all()
    for rows in (lines, planes):
        assert rows[["kernel_depth", "sigma_z", "sigma_z_error"]].isna().all(axis=None)
        assert set(rows.sigma_z_status) == {""}
    assert volumes[["kernel_depth", "kernel_height", "kernel_width"]].eq(3).all(axis=None)
    assert volumes.sigma_z.notna().all()
    assert table.kernel_width.tolist() == [4] * 4 + [7] * 8 + [3] * 3 + [31] * 2 + [8] * 2
    np.testing.assert_array_equal(table.sigma_x, fit.sigma[:, 0])


def test_kernels_of_a_mixed_bank_have_its_shapes_and_explain_what_is_said():
    bank = mixed_bank()
    fit = sk.fit(bank)
    models = fit.kernels()
    left = []
    for layer, model in zip(bank, models, strict=True):
        assert model.kernels.shape == layer.kernels.shape
        assert model.kernels.dtype == layer.kernels.dtype
        filters = layer.kernels.double().flatten(1)
        centred = filters - filters.mean(-1, keepdim=True)
        left.append((filters - model.kernels.double().flatten(1)).square().sum(-1) / centred.square().sum(-1))
    np.testing.assert_allclose(fit.r2, 1 - torch.cat(left), atol=1e-6)


@sizes
def test_kernels_and_residuals_say_the_same(size):
    axes, filters = len(size), noise(25, *size, seed=13)
    for model in ("ideal", "second-order", "dog", "jet1"):
        fit = sk.fit(filters, model, axes=axes)
        residual = (filters - fit.kernels()).flatten(1)
        np.testing.assert_allclose(residual.norm(dim=-1), fit.residual_l2, atol=1e-6)
        np.testing.assert_allclose(residual.abs().sum(-1), fit.residual_l1, atol=1e-5)
        centred = filters.flatten(1) - filters.flatten(1).mean(-1, keepdim=True)
        np.testing.assert_allclose(1 - fit.r2, residual.square().sum(-1) / centred.square().sum(-1), atol=1e-8)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_numbers_count_the_scales_of_every_axis(axes):
    filters = noise(6, *(4,) * axes, seed=14)
    assert (sk.fit(filters, "smooth", axes=axes).numbers == axes + 2).all()
    assert (sk.fit(filters, "jet1", axes=axes).numbers == families(axes)["jet1"].numbers).all()
    assert (sk.fit(filters, "dog", axes=axes).numbers == 4).all()
    several = sk.fit(filters, ("dx", "sharpen"), axes=axes)
    assert several.numbers.tolist() == [5 if name == "sharpen" else axes + 3 for name in several.family]


@pytest.mark.parametrize(
    ("filters", "options", "error", "words"),
    [
        (
            torch.zeros(2, 5),
            {"axes": 3},
            sk.FilterError,
            r"must have shape \(\.\.\., slices, rows, cols\), got \(2, 5\)",
        ),
        (torch.zeros(2, 5), {"axes": 4}, sk.FilterError, "kernels have 1, 2 or 3 axes, got 4"),
        (
            torch.zeros(2, 5),
            {"axes": 1, "model": "dy"},
            sk.ModelError,
            "family 'dy' is not defined for kernels of 1 axis",
        ),
        (
            torch.zeros(2, 5),
            {"axes": 1, "model": "oriented"},
            sk.ModelError,
            "model 'oriented' is defined for kernels of two axes, not of 1 axis",
        ),
        (
            torch.zeros(2, 4),
            {"axes": 1, "window": "published"},
            sk.ModelError,
            "published window is defined for odd sides",
        ),
    ],
)
def test_what_has_no_meaning_on_these_axes_is_said(filters, options, error, words):
    with pytest.raises(error, match=words):
        sk.fit(filters, **options)
