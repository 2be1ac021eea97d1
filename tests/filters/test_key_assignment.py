"""Assigning filters to keys, and deciding which filters give way to their models."""

import math

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters, replacement


def _bank() -> FilterBank:
    draw = torch.Generator().manual_seed(0)
    return FilterBank(
        (
            LayerFilters("wide.dw", torch.randn(6, 7, 7, generator=draw), depth=0),
            LayerFilters("narrow.dw", torch.randn(5, 3, 3, generator=draw), depth=1),
        )
    )


def test_the_key_is_the_one_with_the_least_distance_after_amplitude_and_offset() -> None:
    filters = torch.randn(50, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assigned = sk.assign_keys(filters)
    keys = sk.master_keys().numpy()
    for filter_, model, r2, index in zip(
        filters.numpy(), assigned.kernels().layers[0].kernels.numpy(), assigned.r2, assigned.index, strict=True
    ):
        left = []
        for key in keys:  # ordinary least squares, one key at a time
            design = np.stack([key.ravel(), np.ones(49)], 1)
            left.append(np.linalg.lstsq(design, filter_.ravel(), rcond=None)[1][0])
        assert int(np.argmin(left)) == int(index)
        assert np.square(filter_ - model).sum() == pytest.approx(min(left), rel=1e-9)
        assert float(r2) == pytest.approx(1 - min(left) / np.square(filter_ - filter_.mean()).sum(), rel=1e-9)


def test_amplitude_and_offset_scale_and_the_key_stays() -> None:
    filters = torch.randn(20, 5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    one, other = sk.assign_keys(filters), sk.assign_keys(-3 * filters + 2)
    assert torch.equal(one.index, other.index)
    torch.testing.assert_close(other.amplitude, -3 * one.amplitude)
    torch.testing.assert_close(other.offset, -3 * one.offset + 2)


def test_keys_are_cut_to_smaller_filters_and_padded_for_larger_ones() -> None:
    assigned = sk.assign_keys(sk.master_keys()[:, 1:-1, 1:-1])
    assert assigned.index.tolist() == list(range(8))
    torch.testing.assert_close(assigned.r2, torch.ones(8, dtype=torch.float64))
    wide = torch.nn.functional.pad(sk.master_keys(), (1, 1, 1, 1))
    assert sk.assign_keys(wide).index.tolist() == list(range(8))


def test_filters_without_a_shape_have_no_key_and_stay_what_they_are() -> None:
    filters = torch.stack([torch.zeros(3, 3), torch.full((3, 3), 0.3), torch.full((3, 3), math.nan), torch.eye(3)])
    assigned = sk.assign_keys(filters)
    assert assigned.index.tolist()[:3] == [-1, -1, -1]
    assert list(assigned.family[:3]) == ["", "", ""]
    models = assigned.kernels().layers[0].kernels
    torch.testing.assert_close(models[:2], filters[:2])
    assert bool(models[2].isnan().all())


@pytest.mark.parametrize(
    ("keys", "names", "message"),
    [
        (torch.zeros(7, 7), None, r"keys of two axes must be finite, of shape \(keys, rows, cols\), got \(7, 7\)"),
        (torch.full((1, 3, 3), math.nan), None, "keys of two axes must be finite"),
        (torch.rand(2, 3, 3), ["a"], "got 1 names for 2 keys"),
    ],
)
def test_bad_keys_are_refused(keys: torch.Tensor, names: list[str] | None, message: str) -> None:
    with pytest.raises(sk.FilterError, match=message):
        sk.assign_keys(torch.rand(3, 3), keys, names=names)


def test_a_replacement_takes_the_layers_and_the_filters_that_are_asked_for() -> None:
    bank = _bank()
    fit = sk.fit(bank)
    everything = replacement(fit)
    assert int(everything.replaced.sum()) == len(bank)
    one_layer = replacement(fit, layers=["narrow.*"])
    assert one_layer.replaced.tolist() == [False] * 6 + [True] * 5
    assert torch.equal(one_layer.filters.layers[0].kernels, bank.layers[0].kernels)
    assert one_layer.numbers.tolist() == [49] * 6 + [5] * 5
    middle = float(fit.r2.median())
    good = replacement(fit, min_r2=middle)
    assert torch.equal(good.replaced, fit.r2 >= middle)
    assert set(good.model[~good.replaced.numpy()]) == {"keep"}


def test_a_replacement_counts_numbers_and_taps() -> None:
    table = replacement(sk.fit(_bank(), "jet1"), layers=["wide.*"]).to_pandas()
    assert table.to_dict("records") == [
        {"model": "jet1", "filters": 6, "median_r2": table.median_r2[0], "numbers": 36, "taps": 294},
        {"model": "keep", "filters": 5, "median_r2": 1.0, "numbers": 45, "taps": 45},
    ]


def test_filters_without_a_model_are_kept_and_constant_ones_cost_one_number() -> None:
    filters = torch.stack([torch.zeros(3, 3), torch.full((3, 3), math.nan), torch.eye(3)])
    found = replacement(sk.fit(filters, "jet1"))
    assert list(found.model) == ["constant", "keep", "jet1"]
    assert found.numbers.tolist() == [1, 9, 6]
    draw = torch.Generator().manual_seed(4)
    layers = (
        LayerFilters("a", torch.randn(2, 3, 3, generator=draw)),
        LayerFilters("b", torch.randn(2, 1, 5, generator=draw)),
    )
    one_row = replacement(sk.fit(FilterBank(layers), "dy"))
    assert list(one_row.model) == ["dy", "dy", "keep", "keep"]


def test_bad_choices_of_filters_are_refused() -> None:
    fit = sk.fit(_bank())
    with pytest.raises(sk.FilterError, match=r"no layer is called 'head.\*'; the layers are wide.dw, narrow.dw"):
        replacement(fit, layers=["head.*"])
    with pytest.raises(sk.FilterError, match="min_r2 is a share of energy and at most 1, got 98"):
        replacement(fit, min_r2=98)
