"""The bank of filters: layers in order, stacks by size, other filters in the same layers."""

import pytest
import torch

from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters, master_keys


@pytest.fixture
def bank() -> FilterBank:
    layers = (
        LayerFilters("stem", torch.full((2, 3, 3), 1.0), stride=2, dilation=1, depth=0),
        LayerFilters("wide", torch.full((1, 3, 5), 2.0), stride=1, dilation=2, depth=1),
        LayerFilters("head", torch.full((3, 3, 3), 3.0), depth=2),
    )
    return FilterBank(layers, model="net", notes=("took state_dict",))


def test_its_length_counts_filters_and_it_iterates_over_layers(bank):
    assert len(bank) == 6
    assert [layer.name for layer in bank] == ["stem", "wide", "head"]
    assert [len(layer) for layer in bank] == [2, 1, 3]


def test_its_sizes_are_rows_by_columns_largest_first(bank):
    assert bank.sizes == ((3, 5), (3, 3))
    assert [layer.size for layer in bank] == [(3, 3), (3, 5), (3, 3)]


def test_filters_of_one_size_come_with_their_positions_in_the_bank(bank):
    filters, positions = bank.of_size((3, 3))
    assert filters[:, 0, 0].tolist() == [1, 1, 3, 3, 3]
    assert positions.tolist() == [0, 1, 3, 4, 5]
    filters, positions = bank.of_size((3, 5))
    assert (filters.shape, positions.tolist()) == ((1, 3, 5), [2])


def test_a_size_that_does_not_occur_is_refused_with_those_that_do(bank):
    with pytest.raises(FilterError, match="net: no layer has kernels of 5x3; the sizes are 3x5, 3x3"):
        bank.of_size((5, 3))


def test_other_filters_go_into_the_same_layers(bank):
    other = bank.with_filters([layer.kernels + 10 for layer in bank])
    assert [layer.kernels.mean().item() for layer in other] == [11, 12, 13]
    assert [(a.name, a.stride, a.dilation, a.depth) for a in other] == [
        (a.name, a.stride, a.dilation, a.depth) for a in bank
    ]
    assert (other.model, other.notes) == (bank.model, bank.notes)
    assert bank.layers[0].kernels.mean() == 1


def test_a_stack_is_needed_for_each_layer(bank):
    with pytest.raises(FilterError, match="net: got 2 stacks of filters for 3 layers"):
        bank.with_filters([layer.kernels for layer in bank][:2])


@pytest.mark.parametrize(("shape", "count"), [((7, 7), 1), ((5, 7, 7), 5), ((2, 3, 7, 7), 6), ((0, 7, 7), 0)])
def test_a_tensor_becomes_a_bank_of_one_layer(shape, count):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    bank = FilterBank.from_tensor(values, model="m", layer="l")
    assert (len(bank), bank.model, bank.layers[0].name) == (count, "m", "l")
    assert torch.equal(bank.layers[0].kernels, values.reshape(count, 7, 7))


def test_a_profile_makes_no_bank():
    with pytest.raises(FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(7,\)"):
        FilterBank.from_tensor(torch.ones(7))


@pytest.mark.usefixtures("without_shape_checks")
def test_a_layer_with_another_number_of_axes_is_refused_by_its_name():
    for shape in ((8,), (8, 1, 3, 7, 7)):
        with pytest.raises(
            FilterError, match=r"layer 'stem': filters must have shape \(channels, \*sides\) with one to"
        ):
            LayerFilters("stem", torch.ones(shape))


@pytest.mark.parametrize(("axes", "size"), [(1, (5,)), (2, (4, 5)), (3, (3, 4, 5))])
def test_filters_of_any_axes_make_a_bank(axes, size):
    bank = FilterBank.from_tensor(torch.ones(2, 3, *size), axes=axes)
    assert (bank.sizes, len(bank), bank.layers[0].axes) == ((size,), 6, axes)
    with pytest.raises(FilterError, match=r"filters must have shape \(\.\.\., .*cols\), got \(\)"):
        FilterBank.from_tensor(torch.ones(()), axes=axes)


@pytest.mark.parametrize("axes", [0, 4])
def test_numbers_of_axes_that_there_are_not(axes):
    with pytest.raises(FilterError, match=f"kernels have 1, 2 or 3 axes, got {axes}"):
        FilterBank.from_tensor(torch.ones(8, 3, 3), axes=axes)


def test_its_representation_says_what_is_in_it(bank):
    assert repr(bank) == "FilterBank('net': 6 filters in 3 layers, 3x5, 3x3)"
    assert repr(FilterBank.from_tensor(master_keys()[0])) == "FilterBank('filters': 1 filter in 1 layer, 7x7)"
    assert repr(FilterBank(())) == "FilterBank('filters': 0 filters in 0 layers)"
