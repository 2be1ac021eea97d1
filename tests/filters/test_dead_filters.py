"""Dead filters: which are negligible, at any magnitude, and that everything leaves them out."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters, assign_keys, noise_model, replacement, white_noise_like


def filters(count: int, seed: int = 0, side: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, side, side, generator=generator, dtype=torch.float64).to(dtype)


def bank_of(*layers: torch.Tensor) -> FilterBank:
    return FilterBank(tuple(LayerFilters(f"layer {n}", one, depth=n) for n, one in enumerate(layers)), model="net")


@pytest.mark.parametrize("dead", [1, 12, 30, 37])
@pytest.mark.parametrize("factor", [1e-41, 1e-20, 1e-6])
def test_the_negligible_filters_of_a_layer_are_found(dead, factor):
    layer = filters(40)
    layer[:dead] *= factor
    assert FilterBank.from_tensor(layer).negligible.tolist() == [True] * dead + [False] * (40 - dead)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-30, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_scale_of_a_whole_network_does_not_matter(scale, dtype):
    layers = filters(20, dtype=dtype), filters(20, 1, 3, dtype) * 0.03, filters(20, 2, 7, dtype)
    layers[0][:4] *= 1e-7
    layers[2][5] *= 1e-3
    bank = bank_of(*(layer * scale for layer in layers))
    assert bank.negligible.nonzero()[:, 0].tolist() == [0, 1, 2, 3]


def test_small_filters_are_not_negligible():
    layer = filters(50)
    layer[:25] *= 1e-3
    assert not FilterBank.from_tensor(layer).negligible.any()


@pytest.mark.parametrize("factor", [1e5, 1e20, 1e200])
def test_one_huge_filter_makes_no_other_negligible(factor):
    layer = filters(16, dtype=torch.float64)
    layer[3] *= factor
    assert not FilterBank.from_tensor(layer).negligible.any()
    assert not bank_of(layer, filters(16, 1), filters(4, 2)).negligible.any()


def test_a_layer_that_is_dead_throughout_and_the_one_filter_alive_in_another():
    lonely = filters(16, 3) * 1e-15
    lonely[7] = filters(1, 4)[0]
    bank = bank_of(filters(16), filters(16, 1) * 1e-12, filters(16, 2), lonely, torch.zeros(4, 3, 3))
    marks = bank.negligible
    assert marks[16:32].all()
    assert marks[48:64].tolist() == [n != 7 for n in range(16)]
    assert marks.sum() == 31


@pytest.mark.parametrize("value", [1.0, 1e-30, 1e-37])
def test_a_filter_alone_is_measured_by_no_other(value):
    assert not FilterBank.from_tensor(filters(1) * value).negligible.any()
    assert sk.fit(filters(1) * value).status[0] == "ok"


def test_weights_below_the_precision_of_their_type_are_negligible_even_alone():
    assert sk.fit(filters(1).sign() * 1e-41).status[0] == "negligible"
    assert sk.fit(filters(1, dtype=torch.float64).sign() * 1e-310).status[0] == "negligible"


def test_broken_zero_and_constant_filters_keep_their_words():
    layer = filters(12)
    layer[0], layer[1], layer[2, 0, 0], layer[3], layer[4] = 0.0, 2.0, torch.nan, 1e-30, layer[4] * 1e-30
    fit = sk.fit(layer)
    assert fit.status[:5].tolist() == ["zero-filter", "constant-filter", "non-finite", "negligible", "negligible"]
    assert fit.dead[:6].tolist() == [True, False, False, True, True, False]


def test_a_dead_filter_counts_nowhere():
    layer = filters(60)
    layer[20:] *= 1e-9
    alive = layer[:20]
    fit, without = sk.fit(layer), sk.fit(alive)
    assert (fit.family[20:] == "").all()
    assert fit.r2[20:].isnan().all()
    assert fit.sigma[20:].isnan().all()
    assert fit.share_explained == without.share_explained
    np.testing.assert_array_equal(fit.family[:20], without.family)
    assert (fit.kernels()[20:] == 0).all()
    assert set(fit.to_pandas().status[20:]) == {"negligible"}


def test_a_replacement_keeps_a_dead_filter():
    layer = filters(10)
    layer[4] *= 1e-9
    layer[5] = 1e-12
    bank = FilterBank.from_tensor(layer)
    for modelled in (sk.fit(bank, "jet2"), assign_keys(bank), noise_model(bank)):
        chosen = replacement(modelled)
        assert chosen.replaced.tolist() == [n not in (4, 5) for n in range(10)]
        assert torch.equal(chosen.filters.layers[0].kernels[4:6], layer[4:6])


def test_the_random_control_and_the_keys_leave_dead_filters_alone():
    layer = filters(30)
    layer[7:11] *= 1e-9
    bank = FilterBank.from_tensor(layer)
    control = white_noise_like(bank)
    assert torch.equal(control.layers[0].kernels[7:11], layer[7:11])
    assert torch.equal(control.negligible, bank.negligible)
    keys = sk.cluster(bank, k=3, restarts=1)
    assert (keys.assignment < 0).tolist() == keys.negligible.tolist() == bank.negligible.tolist()
    assert (assign_keys(bank).index < 0).tolist() == bank.negligible.tolist()


def test_names_and_shared_scales_of_a_fit_with_dead_filters_can_be_used_again():
    layer = filters(12)
    layer[3] *= 1e-9
    fit = sk.fit(layer)
    again = sk.fit(layer, families=fit.family)
    assert again.status[3] == "negligible"
    np.testing.assert_array_equal(again.family, fit.family)
    assert sk.fit(layer, ("dx", "dy"), scales="shared").status[3] == "negligible"


def test_a_layer_with_a_floor_needs_no_network():
    layer = LayerFilters("part", filters(3), floor=0.0)
    assert not FilterBank((layer,)).negligible.any()
    assert FilterBank((LayerFilters("part", filters(3), floor=20.0),)).negligible.all()
