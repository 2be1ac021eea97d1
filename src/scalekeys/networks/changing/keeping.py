"""Long work in named pieces, of which those that are done can be kept, so that it can be interrupted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from torch import Tensor

from scalekeys.filters import FilterBank
from scalekeys.fitting import Fit, PatchCovariance, fit, natural_covariance_of
from scalekeys.fitting.spec import parse_spec
from scalekeys.fitting.stack import StackFit

Pieces: TypeAlias = Mapping[str, Tensor]
Keep: TypeAlias = Callable[[str, Callable[[], Pieces]], Pieces]
"""``keep(name, compute)`` returns what ``compute()`` returns, or what it returned in an earlier run."""

PATCHES = 256
"""From so many patches of each channel of an input scales are fitted."""


def at_once(name: str, compute: Callable[[], Pieces]) -> Pieces:  # noqa: ARG001
    """Compute a piece, and keep nothing."""
    return compute()


def with_unseen(covariance: PatchCovariance, bank: FilterBank) -> PatchCovariance:
    """Let layers that no input reached see natural images."""
    natural = {
        layer.name: natural_covariance_of(layer).expand(len(layer), -1, -1)
        for layer in bank
        if layer.name not in covariance.layers
    }
    return replace(covariance, layers={**covariance.layers, **natural})


def response_fit(
    bank: FilterBank, model: str | Sequence[str], covariance: PatchCovariance, keep: Keep = at_once
) -> Fit:
    """Fit a model to responses as one piece of work; see :func:`scalekeys.fit`."""

    def compute() -> Pieces:
        return vars(fit(bank, model, criterion="response", covariance=covariance).values)

    name = model if isinstance(model, str) else ",".join(model)
    values = StackFit(**keep(f"fit {name}", compute))
    return Fit(bank, parse_spec(model, {layer.axes for layer in bank}, criterion="response"), values)
