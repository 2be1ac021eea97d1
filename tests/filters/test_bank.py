"""FilterBank and the random control."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters


def _bank():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 3, 3), (2, 7, 7), (4, 3, 3)]
    layers = [LayerFilters(f"l{i}", torch.randn(s, generator=generator) + i, depth=i) for i, s in enumerate(shapes)]
    return FilterBank(tuple(layers), model="net")


def test_filters_of_one_size_come_with_their_positions():
    filters, positions = _bank().of_size((3, 3))
    assert positions.tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert torch.equal(filters, torch.cat([_bank().layers[0].filters, _bank().layers[2].filters]))
    assert _bank().sizes == ((7, 7), (3, 3))
    with pytest.raises(sk.FilterError, match="net: no layer has kernels of 5x5; the sizes are 7x7, 3x3"):
        _bank().of_size((5, 5))


def test_a_bank_tells_what_it_holds():
    assert repr(_bank()) == "FilterBank('net': 9 filters in 3 layers, 7x7, 3x3)"
    assert [layer.name for layer in _bank()] == ["l0", "l1", "l2"]
    assert len(_bank()) == 9


def test_a_tensor_of_any_leading_shape_becomes_one_layer():
    bank = FilterBank.from_tensor(torch.zeros(2, 3, 5, 5))
    assert bank.layers[0].filters.shape == (6, 5, 5)
    with pytest.raises(sk.FilterError, match="got 1 stacks of filters for 3 layers"):
        _bank().with_filters([torch.zeros(1, 3, 3)])


@pytest.mark.usefixtures("without_shape_checks")
def test_a_layer_of_another_shape_is_named():
    with pytest.raises(sk.FilterError, match="layer 'a': filters must have shape"):
        LayerFilters("a", torch.zeros(3, 1, 3, 3))


def test_the_control_has_the_means_and_norms_of_the_filters_and_nothing_else():
    bank = _bank()
    control = sk.noise_like(bank, seed=3)
    for real, noise in zip(bank, control, strict=True):
        assert (noise.name, noise.depth, noise.filters.dtype) == (real.name, real.depth, real.filters.dtype)
        a, b = real.filters.double(), noise.filters.double()
        np.testing.assert_allclose(a.mean((-2, -1)), b.mean((-2, -1)), atol=1e-6)
        np.testing.assert_allclose(a.var((-2, -1)), b.var((-2, -1)), rtol=1e-5)
        assert not torch.allclose(a, b)


def test_the_control_is_a_function_of_its_seed():
    first, again, other = (sk.noise_like(_bank(), seed=seed).layers[0].filters for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_filters_without_a_shape_stay_as_they_are_and_spoil_no_others():
    filters = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    filters[0], filters[1], filters[2, 0, 0] = 0.0, 2.0, torch.nan
    control = sk.noise_like(FilterBank.from_tensor(filters)).layers[0].filters
    assert torch.equal(control[:2], filters[:2])
    np.testing.assert_array_equal(control[2], filters[2])
    assert control[3].isfinite().all()
    assert not torch.equal(control[3], filters[3])
