"""What a fit is asked to do: a validated, hashable description."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from scalekeys.errors import ModelError
from scalekeys.scalespace import FAMILIES, IDEAL8, JETS, SECOND_ORDER, WIDE_JET, WINDOWS, Window, family

Criterion: TypeAlias = Literal["l2", "l1", "response", "variance", "variance-continuous"]
Scales: TypeAlias = Literal["per-axis", "common", "shared"]
Normalization: TypeAlias = Literal["affine", "moment"]

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
VARIANCE_CRITERIA: tuple[Criterion, ...] = ("variance", "variance-continuous")
"""The criteria that compare widths; the others compare values."""

AUTO = "auto"
"""The model in which all families compete on equal terms, by evidence."""

MODELS: dict[str, tuple[str, ...]] = {
    "ideal8": IDEAL8,
    "second-order": SECOND_ORDER,
    AUTO: (*IDEAL8, *SECOND_ORDER, "dog", *JETS),
}
"""Named sets of families that compete for each filter."""

SPARSE = "sparse"
"""Beginning of the name of a sparse model; the number of its terms follows, as in ``sparse6``."""

MOST_TERMS = len(FAMILIES[WIDE_JET].components) + 1
"""All derivatives, and the constant."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "criterion": CRITERIA,
    "scales": get_args(Scales),
    "normalization": get_args(Normalization),
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
    terms : int, optional
        Of a sparse model: how many derivatives of the family, the constant among them, stand for each filter.
    """

    model: str
    families: tuple[str, ...]
    criterion: Criterion = "l2"
    scales: Scales = "per-axis"
    normalization: Normalization = "affine"
    window: Window = "exact"
    terms: int | None = None

    def __str__(self) -> str:
        return (
            f"model {self.model}, criterion {self.criterion}, scales {self.scales}, "
            f"normalization {self.normalization}, window {self.window}"
        )

    @property
    def by_variance(self) -> bool:
        """Whether scales are found by comparing widths, not values."""
        return self.criterion in VARIANCE_CRITERIA

    @property
    def selects(self) -> bool:
        """Whether models of different numbers compete, by evidence."""
        return self.model == AUTO

    @property
    def labels(self) -> tuple[str, ...]:
        """What the families are called in tables: a sparse model by its name, which tells the number of terms."""
        return (self.model,) if self.terms else self.families

    @property
    def components(self) -> int:
        """Largest number of components that one of the families mixes."""
        return max(len(FAMILIES[name].components) for name in self.families)


def parse_spec(model: str | Sequence[str], **options: str) -> FitSpec:
    """Validate the arguments of a fit.

    Raises
    ------
    ModelError
        If a name is unknown, and the message lists what is allowed; or if the choices make no sense together, and the
        message says why.

    Examples
    --------
    >>> parse_spec(("dx", "dy")).families
    ('dx', 'dy')
    """
    terms = None
    if isinstance(model, str):
        if not is_model(model):
            allowed = ", ".join(model_names())
            raise ModelError(f"no model is called {model!r}; use one of {allowed}, or a tuple of family names")
        terms = _terms(model)
        families = (WIDE_JET,) if terms else MODELS.get(model, (model,))
    else:
        families = tuple(dict.fromkeys(family(name).name for name in model))
        if not families:
            raise ModelError("model is an empty tuple; name at least one family")
    for name, value in options.items():
        if value not in _CHOICES[name]:
            allowed = ", ".join(map(repr, _CHOICES[name]))
            raise ModelError(f"{name} must be one of {allowed}, got {value!r}")
    label = model if isinstance(model, str) else "+".join(families)
    spec = FitSpec(label, families, terms=terms, **options)  # type: ignore[arg-type]
    _check_sense(spec)
    return spec


def is_model(name: str) -> bool:
    """Tell whether a model has this name."""
    return name in MODELS or name in FAMILIES or _terms(name) is not None


def model_names() -> list[str]:
    """Return the names of all models, for messages; sparse ones as a range."""
    return [*MODELS, *FAMILIES, f"{SPARSE}1 to {SPARSE}{MOST_TERMS}"]


def _terms(model: str) -> int | None:
    """Return the number of terms in the name of a sparse model."""
    count = model.removeprefix(SPARSE)
    if count == model or not (count.isascii() and count.isdigit()):
        return None
    if not 1 <= int(count) <= MOST_TERMS:
        raise ModelError(f"a sparse model has 1 to {MOST_TERMS} terms, got {model!r}")
    return int(count)


def _check_sense(spec: FitSpec) -> None:
    """Refuse combinations that have no meaning."""
    if spec.terms and (spec.criterion not in ("l2", "response") or spec.scales != "per-axis"):
        raise ModelError(
            f"{spec.model!r} chooses terms by the squares that they leave, with a scale for each axis: use it with "
            "criterion 'l2' or 'response' and scales='per-axis'"
        )
    for name in spec.families:
        model = FAMILIES[name]
        if spec.normalization == "moment" and name not in IDEAL8:
            why = (
                "it fixes one amplitude beforehand, and a jet has a free coefficient for each derivative"
                if model.is_jet
                else "the moments of the paper are those of the eight families"
            )
            raise ModelError(f"normalization 'moment' makes no sense for {name!r}: {why}; use normalization='affine'")
        if spec.by_variance and not (name in IDEAL8 or model.is_separable):
            why = "a mixture of derivatives" if model.is_jet else "a sum of terms"
            raise ModelError(
                f"criterion {spec.criterion!r} makes no sense for {name!r}: it compares the width of the filter with "
                f"that of one template, and {why} has no width of its own; use criterion 'l2' or 'l1'"
            )
        if spec.scales == "shared" and model.two_scales:
            raise ModelError(f"scales 'shared' makes no sense for {name!r}, which has two scales for each filter")
    if spec.criterion == "response" and (spec.normalization != "affine" or spec.scales == "shared"):
        raise ModelError(
            "criterion 'response' goes with normalization='affine' and scales 'per-axis' or 'common', "
            f"not with normalization={spec.normalization!r} and scales={spec.scales!r}"
        )
    if spec.selects and (spec.criterion != "l2" or spec.normalization != "affine" or spec.scales != "per-axis"):
        raise ModelError(
            "'auto' weighs models by the squares that they leave, with free amplitudes and a scale for each axis: "
            "use it with criterion='l2', normalization='affine' and scales='per-axis'"
        )
