"""The controls of a clustering: banks of noise in the place of the filters."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from scalekeys.filters import FilterBank

Control: TypeAlias = Callable[..., FilterBank]
"""A function such as :func:`scalekeys.white_noise_like` or :func:`scalekeys.matched_noise_like`."""


def noise_of(banks: Sequence[FilterBank], control: Control, seed: int) -> tuple[FilterBank, ...]:
    """Return noise in the place of the filters of banks, other noise for each bank."""
    return tuple(control(bank, seed=seed + number) for number, bank in enumerate(banks))
