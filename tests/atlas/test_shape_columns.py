"""The columns that describe the shape of single filters, against their definitions."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.atlas.schema import SHAPE_MEASURES
from scalekeys.atlas.shape_columns import shape_columns
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.window import in_window

SIZES = ((7, 7), (3, 3), (5, 3), (2, 4), (1, 5), (5,), (3, 3, 3))


def columns_of(bank):
    return {name: values.to_pylist() for name, values in shape_columns(bank).items()}


@pytest.fixture(scope="module")
def bank():
    generator = torch.Generator().manual_seed(0)
    stacks = [torch.randn(4, *size, generator=generator) for size in SIZES]
    return FilterBank(tuple(LayerFilters(str(number), stack) for number, stack in enumerate(stacks)))


def test_the_columns_are_those_of_their_definitions(bank):
    columns = columns_of(bank)
    assert set(columns) == {*SHAPE_MEASURES, "key", "key_correlation"}
    for layer, part in bank.parts():
        for filter_, place in zip(layer.kernels.double().numpy(), range(part.start, part.stop), strict=True):
            row = {name: values[place] for name, values in columns.items()}
            assert [row[f"centre_{axis}"] for axis in "xyz"] == pytest.approx(centre(filter_), abs=1e-6), layer.size
            assert [row[f"rank{rank}"] for rank in (1, 2, 3)] == pytest.approx(shares(filter_)), layer.size
            assert row["rank1_centred"] == pytest.approx(shares(filter_ - filter_.mean())[0]), layer.size
            key, correlation = nearest(filter_)
            assert row["key"] == key
            assert row["key_correlation"] == pytest.approx(correlation)


def centre(filter_):
    """The centre of mass of the absolute values along x, y (up) and z, by a direct sum."""
    found = []
    for axis, sign in zip(reversed(range(filter_.ndim)), (1, -1, 1), strict=False):
        mass = np.abs(filter_).sum(tuple(other for other in range(filter_.ndim) if other != axis))
        found.append(sign * (mass * (np.arange(len(mass)) - (len(mass) - 1) / 2)).sum() / mass.sum())
    return found + [None] * (3 - len(found))


def shares(filter_):
    if filter_.ndim != 2 or min(filter_.shape) < 2:
        return [None] * 3
    energy = np.square(np.linalg.svd(filter_, compute_uv=False))
    return [energy[:rank].sum() / energy.sum() for rank in (1, 2, 3)]


def nearest(filter_):
    if filter_.ndim != 2 or min(filter_.shape) < 2:
        return None, None
    keys = in_window(sk.master_keys(), filter_.shape).numpy()
    correlations = [abs(np.corrcoef(filter_.ravel(), key.ravel())[0, 1]) for key in keys]
    return sk.MASTER_KEY_FAMILIES[int(np.argmax(correlations))], max(correlations)


def test_keys_are_those_of_the_assignment(bank):
    columns, assigned = columns_of(bank), sk.assign_keys(bank)
    assert columns["key"][:16] == assigned.family[:16].tolist()
    assert columns["key_correlation"][:16] == assigned.r2[:16].sqrt().tolist()


def test_dead_filters_have_no_shape_and_constant_ones_no_key():
    kernels = torch.randn(30, 3, 3, generator=torch.Generator().manual_seed(0))
    kernels[0], kernels[2], kernels[3, 0, 0] = 0, 0.1, torch.nan
    kernels[1] *= 1e-9
    columns = columns_of(FilterBank.from_tensor(kernels))
    for name, values in columns.items():
        assert values[0] is values[1] is values[3] is None, name
        assert (None in values[4:]) == (name == "centre_z")
    held = {name: values[2] for name, values in columns.items() if values[2] is not None}
    assert held == {"centre_x": 0, "centre_y": 0, "rank1": 1, "rank2": 1, "rank3": 1}


def test_a_bank_of_one_axis_has_a_centre_alone():
    columns = columns_of(FilterBank.from_tensor(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), axes=1))
    assert columns.pop("centre_x") == [1]
    assert {value for values in columns.values() for value in values} == {None}
