"""What a fit is asked to do: a validated, hashable description."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scalekeys.errors import ModelError
from scalekeys.scalespace import FAMILIES, IDEAL8, WINDOWS, Window, family

Criterion: TypeAlias = Literal["l2"]
Scales: TypeAlias = Literal["per-axis"]
Normalization: TypeAlias = Literal["affine"]

MODELS: dict[str, tuple[str, ...]] = {"ideal8": IDEAL8}
"""Named sets of families that compete for each filter."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "criterion": ("l2",),
    "scales": ("per-axis",),
    "normalization": ("affine",),
    "window": WINDOWS,
}


@dataclass(frozen=True)
class FitSpec:
    """A validated request for a fit.

    Parameters
    ----------
    model : str
        The name under which the families were asked for.
    families : tuple of str
        The families that compete for each filter.
    criterion, scales, normalization, window : str
        See :func:`scalekeys.fit`.
    """

    model: str
    families: tuple[str, ...]
    criterion: Criterion = "l2"
    scales: Scales = "per-axis"
    normalization: Normalization = "affine"
    window: Window = "exact"

    def __str__(self) -> str:
        return (
            f"model {self.model}, criterion {self.criterion}, scales {self.scales}, "
            f"normalization {self.normalization}, window {self.window}"
        )


def parse_spec(model: str | Sequence[str], **options: str) -> FitSpec:
    """Validate the arguments of a fit.

    Raises
    ------
    ModelError
        If a name is unknown; the message lists what is allowed.

    Examples
    --------
    >>> parse_spec(("dx", "dy")).families
    ('dx', 'dy')
    """
    if isinstance(model, str):
        if model not in MODELS and model not in FAMILIES:
            allowed = ", ".join([*MODELS, *FAMILIES])
            raise ModelError(f"no model is called {model!r}; use one of {allowed}, or a tuple of family names")
        families = MODELS.get(model, (model,))
    else:
        families = tuple(dict.fromkeys(family(name).name for name in model))
        if not families:
            raise ModelError("model is an empty tuple; name at least one family")
    for name, value in options.items():
        if value not in _CHOICES[name]:
            allowed = ", ".join(map(repr, _CHOICES[name]))
            raise ModelError(f"{name} must be one of {allowed}, got {value!r}")
    label = model if isinstance(model, str) else "+".join(families)
    return FitSpec(label, families, **options)  # type: ignore[arg-type]
