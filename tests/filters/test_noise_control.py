"""The white control: noise in the layers of a bank, with the means and centred norms of its filters."""

import math

import pytest
import torch

from scalekeys.filters import FilterBank, LayerFilters, master_keys, white_noise_like
from tolerances import DTYPES


def moments(filters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values = filters.double()
    mean = values.mean((-2, -1))
    return mean, (values - mean[:, None, None]).square().sum((-2, -1)).sqrt()


def scattered(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Filters whose means and norms range over many orders of magnitude."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(count, 5, 5, generator=generator, dtype=torch.float64)
    return (values * 10.0 ** torch.linspace(-6, 6, count)[:, None, None] + values[:, :1, :1]).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_means_and_centred_norms_are_those_of_the_filters(dtype):
    bank = FilterBank((LayerFilters("a", scattered(40, dtype)), LayerFilters("b", master_keys().to(dtype), depth=1)))
    for layer, control in zip(bank, white_noise_like(bank), strict=True):
        assert control.kernels.dtype == dtype
        (mean, norm), (noise_mean, noise_norm) = moments(layer.kernels), moments(control.kernels)
        scale = layer.kernels.double().abs().amax((-2, -1))
        assert ((noise_mean - mean).abs() <= 1e-6 * scale).all()
        assert ((noise_norm - norm).abs() <= 1e-6 * scale).all()


def test_it_is_noise_and_not_the_filters():
    keys, (control,) = master_keys(), white_noise_like(FilterBank.from_tensor(master_keys()))
    assert (keys * control.kernels).sum((-2, -1)).abs().max() < 0.5
    assert (control.kernels[0] * control.kernels[1]).sum().abs() < 0.5


def test_a_seed_gives_the_same_noise_again_and_another_seed_gives_other_noise():
    bank = FilterBank.from_tensor(master_keys())
    one, again, other = (white_noise_like(bank, seed=seed).layers[0].kernels for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.isclose(one, other).any()


def test_it_neither_uses_nor_moves_the_global_generator():
    bank = FilterBank.from_tensor(master_keys())
    torch.manual_seed(5)
    one, after = white_noise_like(bank).layers[0].kernels, torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(one, white_noise_like(bank).layers[0].kernels)


def test_layers_keep_their_names_and_places():
    layers = (
        LayerFilters("stem", torch.rand(2, 3, 3), stride=2, dilation=1, depth=0),
        LayerFilters("head", torch.rand(2, 5, 5), depth=1),
    )
    control = white_noise_like(FilterBank(layers, model="net", notes=("a note",)))
    assert [(a.name, a.stride, a.dilation, a.depth) for a in control] == [("stem", 2, 1, 0), ("head", None, None, 1)]
    assert control.model == "white noise"
    assert control.notes == ()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e-8, 3e7, math.nan, math.inf, -math.inf])
def test_a_constant_or_broken_filter_stays_as_it_is_and_spoils_no_other(dtype, value):
    filters = master_keys().to(dtype)
    filters[3] = value
    (control,) = white_noise_like(FilterBank.from_tensor(filters))
    assert torch.equal(control.kernels[3].nan_to_num(9), filters[3].nan_to_num(9))
    (untouched,) = white_noise_like(FilterBank.from_tensor(master_keys().to(dtype)))
    others = [0, 1, 2, 4, 5, 6, 7]
    assert torch.equal(control.kernels[others], untouched.kernels[others])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_broken_value_keeps_the_whole_filter_as_it_is(value):
    filters = master_keys()
    filters[5, 0, 6] = value
    (control,) = white_noise_like(FilterBank.from_tensor(filters))
    assert torch.equal(control.kernels[5].nan_to_num(9, 9), filters[5].nan_to_num(9, 9))


def test_a_kernel_of_one_pixel_stays_as_it_is():
    pixels = torch.rand(4, 1, 1)
    assert torch.equal(white_noise_like(FilterBank.from_tensor(pixels)).layers[0].kernels, pixels)
