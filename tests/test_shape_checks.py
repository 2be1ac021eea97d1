"""The run-time checks of shapes see a wrong one, wherever it is, and leave alone what has none."""

from collections.abc import Iterator
from dataclasses import dataclass

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

import shape_checks
from scalekeys.filters import LayerFilters
from shape_checks import check_shapes

THREE, FOUR = torch.zeros(3), torch.zeros(4)


@check_shapes
def joined(first: Float[Tensor, "n"], second: Float[Tensor, "n"], name: int = 0) -> Float[Tensor, "2*n"]:
    return torch.cat([first, second])[: name or None]


@check_shapes
@dataclass
class Pair:
    first: Float[Tensor, "n"]
    second: Float[Tensor, "n"]


@check_shapes
def rows(table: Float[Tensor, "rows cols"]) -> Iterator[Float[Tensor, "cols"]]:
    yield from table


def test_what_fits_passes_and_other_annotations_are_not_checked():
    assert joined(THREE, THREE, name=None).shape == (6,)
    assert joined(FOUR, FOUR).shape == (8,)  # the axes of one call are not those of the next
    assert Pair(THREE, THREE).first is THREE
    assert len(list(rows(torch.zeros(2, 3)))) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined(THREE, FOUR),
        lambda: joined(THREE, second=THREE.int()),
        lambda: joined(THREE, THREE, name=5),
        lambda: Pair(THREE, FOUR),
        lambda: list(rows(THREE)),
        lambda: LayerFilters("a layer", torch.zeros(4, 3, 3, dtype=torch.int32)),
    ],
)
def test_a_wrong_shape_or_dtype_fails(call):
    with pytest.raises(BeartypeCallHintViolation):
        call()


@check_shapes
def ends(parts: tuple[Float[Tensor, "n"], ...] | None, last: int = -1) -> tuple[Float[Tensor, "n"], int]:
    return parts[0].repeat(1 + (last > 0)), last


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined(THREE, second=FOUR),
        lambda: joined(second=FOUR, first=THREE),
        lambda: joined(THREE, THREE.double(), name=2),
        lambda: ends((FOUR[0], FOUR[0])),
        lambda: ends((THREE, THREE), 1),
    ],
)
def test_a_call_that_passed_excuses_no_other(call):
    joined(THREE, THREE)
    joined(second=FOUR, first=FOUR)
    ends((THREE, THREE))
    with pytest.raises(BeartypeCallHintViolation):
        call()


def test_a_call_is_checked_again_only_for_other_shapes(monkeypatch):
    checked = []
    monkeypatch.setattr(shape_checks, "die_if_unbearable", lambda value, hint: checked.append(value.shape))
    for tensor in (torch.zeros(7), torch.ones(7), torch.zeros(8)):
        joined(tensor, tensor)
    assert checked == [(7,)] * 4 + [(14,)] + [(8,)] * 4 + [(16,)]


def test_a_function_without_shapes_is_left_as_it_is():
    def plain(count: int) -> str:
        return str(count)

    assert check_shapes(plain) is plain
    assert joined.__annotations__["first"] is joined.__wrapped__.__annotations__["first"]


def test_the_checks_can_be_turned_off(without_shape_checks):
    assert jaxtyping.config.jaxtyping_disable
    assert joined(THREE, FOUR).shape == (7,)
