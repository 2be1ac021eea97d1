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


@pytest.fixture
def mixed() -> FilterBank:
    layers = (
        LayerFilters("causal", torch.full((2, 16), 1.0)),
        LayerFilters("image", torch.full((1, 3, 4), 2.0), depth=1),
        LayerFilters("video", torch.full((3, 2, 3, 3), 3.0), depth=2),
        LayerFilters("head", torch.full((1, 5), 4.0), depth=3),
    )
    return FilterBank(layers, model="mixed")


def test_kernels_have_any_number_of_axes_and_any_side(mixed):
    assert [layer.size for layer in mixed] == [(16,), (3, 4), (2, 3, 3), (5,)]
    assert [layer.axes for layer in mixed] == [1, 2, 3, 1]
    assert (len(mixed), mixed.axes) == (7, 3)
    assert FilterBank(()).axes == 0


def test_sizes_of_more_axes_come_first(mixed):
    assert mixed.sizes == ((2, 3, 3), (3, 4), (16,), (5,))
    assert repr(mixed) == "FilterBank('mixed': 7 filters in 4 layers, 2x3x3, 3x4, 16, 5)"


@pytest.mark.parametrize(
    ("size", "positions"), [((16,), [0, 1]), ((3, 4), [2]), ((2, 3, 3), [3, 4, 5]), ((5,), [6])], ids=str
)
def test_filters_of_one_size_are_stacked_whatever_their_axes(mixed, size, positions):
    filters, found = mixed.of_size(size)
    assert (tuple(filters.shape[1:]), found.tolist()) == (size, positions)


def test_a_size_of_other_axes_does_not_occur(mixed):
    with pytest.raises(FilterError, match="mixed: no layer has kernels of 16x16; the sizes are 2x3x3, 3x4, 16, 5"):
        mixed.of_size((16, 16))


@pytest.mark.parametrize(
    ("shape", "axes", "count", "size"),
    [
        ((7, 7), 2, 1, (7, 7)),
        ((5, 7, 7), 2, 5, (7, 7)),
        ((2, 3, 7, 7), 2, 6, (7, 7)),
        ((0, 7, 7), 2, 0, (7, 7)),
        ((4,), 1, 1, (4,)),
        ((2, 3, 4), 1, 6, (4,)),
        ((2, 3, 4), 3, 1, (2, 3, 4)),
        ((6, 2, 3, 4), 3, 6, (2, 3, 4)),
    ],
)
def test_a_tensor_becomes_a_bank_of_one_layer(shape, axes, count, size):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    bank = FilterBank.from_tensor(values, axes=axes, model="m", layer="l")
    assert (len(bank), bank.model, bank.layers[0].name, bank.axes) == (count, "m", "l", axes)
    assert torch.equal(bank.layers[0].kernels, values.reshape(count, *size))


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((7,), 2, r"filters must have shape \(\.\.\., rows, cols\), got \(7,\)"),
        ((), 1, r"filters must have shape \(\.\.\., cols\), got \(\)"),
        ((7, 7), 3, r"filters must have shape \(\.\.\., slices, rows, cols\), got \(7, 7\)"),
        ((7, 7), 0, "kernels have 1, 2 or 3 axes, got 0"),
        ((7, 7, 7, 7), 4, "kernels have 1, 2 or 3 axes, got 4"),
    ],
)
def test_a_kernel_needs_its_axes(shape, axes, message):
    with pytest.raises(FilterError, match=message):
        FilterBank.from_tensor(torch.ones(shape), axes=axes)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("shape", [(8,), (8, 1, 7, 7, 7)])
def test_a_layer_with_another_number_of_axes_is_refused_by_its_name(shape):
    message = r"layer 'stem': filters must have shape \(channels, \*sides\) with one to three sides, got \(8,"
    with pytest.raises(FilterError, match=message):
        LayerFilters("stem", torch.ones(shape))


def test_its_representation_says_what_is_in_it(bank):
    assert repr(bank) == "FilterBank('net': 6 filters in 3 layers, 3x5, 3x3)"
    assert repr(FilterBank.from_tensor(master_keys()[0])) == "FilterBank('filters': 1 filter in 1 layer, 7x7)"
    assert repr(FilterBank(())) == "FilterBank('filters': 0 filters in 0 layers)"
