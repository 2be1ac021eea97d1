"""What a fit is asked to do: a validated, hashable description."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from scalekeys.errors import ModelError, check_choice, perhaps
from scalekeys.scalespace import (
    DISCRETIZATIONS,
    JETS,
    ORIENTED,
    WIDE_JET,
    WINDOWS,
    AxisScales,
    Discretization,
    Family,
    Window,
    common,
    families,
    family,
    ideal,
    second_order,
)

Criterion: TypeAlias = Literal["l2", "l1", "response", "variance", "variance-continuous"]
Scales: TypeAlias = Literal["per-axis", "common", "shared"]
Normalization: TypeAlias = Literal["affine", "moment"]

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
VARIANCE_CRITERIA: tuple[Criterion, ...] = ("variance", "variance-continuous")
"""The criteria that compare widths; the others compare values."""

AUTO = "auto"
"""The model in which all families compete on equal terms, by evidence."""

IDEAL = "ideal"
"""The model of the 3 D + 2 idealized receptive fields of D axes."""

MODELS: dict[str, Callable[[int], tuple[str, ...]]] = {
    IDEAL: ideal,
    "ideal8": ideal,
    "second-order": second_order,
    "oriented": lambda axes: ORIENTED if axes == 2 else (),
    AUTO: lambda axes: (*ideal(axes), *second_order(axes), "dog", *JETS),
}
"""Named sets of families that compete for each filter, by the number of its axes."""

SPARSE = "sparse"
"""Beginning of the name of a sparse model; the number of its terms follows, as in ``sparse6``."""

MOST_TERMS = len(families(2)[WIDE_JET].components)
"""All derivatives of two axes."""

_GOES_WITH: dict[str, tuple[dict[str, tuple[str, ...]], str]] = {
    "response": (
        {"normalization": ("affine",), "scales": ("per-axis", "common")},
        "criterion 'response' goes with normalization='affine' and scales 'per-axis' or 'common', "
        "not with normalization={0.normalization!r} and scales={0.scales!r}",
    ),
    AUTO: (
        {"criterion": ("l2",), "normalization": ("affine",), "scales": ("per-axis",)},
        "'auto' weighs models by the squares that they leave, with free amplitudes and a scale for each axis: "
        "use it with criterion='l2', normalization='affine' and scales='per-axis'",
    ),
    SPARSE: (
        {"criterion": ("l2", "response"), "scales": ("per-axis",)},
        "{0.model!r} chooses terms by the squares that they leave, with a scale for each axis: use it with "
        "criterion 'l2' or 'response' and scales='per-axis'",
    ),
    **dict.fromkeys(
        ORIENTED,
        (
            {"criterion": ("l2",), "normalization": ("affine",), "window": ("exact",)},
            "{1!r} is fitted by criterion 'l2' with normalization='affine' and window='exact'",
        ),
    ),
    **dict.fromkeys(
        DISCRETIZATIONS[1:],
        (
            {"window": ("exact",), "criterion": ("l2", "l1", "response")},
            "discretization {1!r} goes with window='exact' and the criteria 'l2', 'l1' and 'response', not with "
            "window={0.window!r} and criterion={0.criterion!r}",
        ),
    ),
}
"""What criteria, models, families and discretizations go with, of other options, and the sentence that says so."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "criterion": CRITERIA,
    "scales": get_args(Scales),
    "normalization": get_args(Normalization),
    "window": WINDOWS,
    "discretization": DISCRETIZATIONS,
}


@dataclass(frozen=True)
class FitSpec:
    """A validated request for a fit.

    Parameters
    ----------
    model : str
        The name under which the families were asked for.
    families : tuple of str
        The families that compete for each filter, of all numbers of axes that occur.
    criterion, scales, normalization, window, discretization : str
        See :func:`scalekeys.fit`.
    terms : int, optional
        Of a sparse model: how many derivatives of the family stand for each filter, beside the offset.
    """

    model: str
    families: tuple[str, ...]
    criterion: Criterion = "l2"
    scales: Scales = "per-axis"
    normalization: Normalization = "affine"
    window: Window = "exact"
    terms: int | None = None
    discretization: Discretization = "discrete"

    def __str__(self) -> str:
        return (
            f"model {self.model}, criterion {self.criterion}, scales {self.scales}, "
            f"normalization {self.normalization}, window {self.window}"
            + (f", discretization {self.discretization}" if self.discretization != "discrete" else "")
        )

    @property
    def is_plain(self) -> bool:
        """Whether the fit is by least squares, with free amplitude and offset, and each filter by itself."""
        return self.criterion == "l2" and self.normalization == "affine" and self.scales != "shared"

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

    def base(self, name: str, axes: int) -> Family | None:
        """Return a family of the spec on kernels of D axes as tables have it, None if it has no form there."""
        found = families(axes).get(name)
        return found and replace(found, discretization=self.discretization)

    def family(self, name: str, axes: int) -> Family | None:
        """Return a family of the spec on kernels of D axes, None if it has no form there.

        Where scales are common or shared, its axes have one scale.
        """
        found = self.base(name, axes)
        if found is None or self.scales == "per-axis" or not isinstance(found.parametrization, AxisScales):
            return found
        return replace(found, parametrization=common(axes))

    def numbers(self, name: str, size: tuple[int, ...]) -> int:
        """Return how many numbers a family fits to a kernel of this size, 0 if it has no form on so many axes.

        Along an axis of one tap there is no scale, so that none is counted.
        """
        found = self.family(name, len(size))
        if found is None:
            return 0
        groups = found.parametrization.groups or ()
        seen = {group for group, taps in zip(groups, reversed(size), strict=False) if taps > 1}
        return found.numbers - len(set(groups) - seen)


def parse_spec(model: str | Sequence[str], axes: Iterable[int] = (2,), **options: str) -> FitSpec:
    """Validate the arguments of a fit.

    Parameters
    ----------
    model : str or sequence of str
    axes : iterable of int
        The numbers of axes of the filters.
    **options : str
        See :class:`FitSpec`.

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
            allowed, meant = ", ".join(model_names()), perhaps(model, model_names())
            raise ModelError(f"no model is called {model!r}{meant}; use one of {allowed}, or a tuple of family names")
        terms = _terms(model)
        found = (WIDE_JET,) if terms else _families_of(model, tuple(axes))
    else:
        found = tuple(dict.fromkeys(_known(name, tuple(axes)) for name in model))
        if not found:
            raise ModelError("model is an empty tuple; name at least one family")
    for name, value in options.items():
        check_choice(name, value, _CHOICES[name])
    label = model if isinstance(model, str) else "+".join(found)
    spec = FitSpec(label, found, terms=terms, **options)  # type: ignore[arg-type]
    _check_sense(spec, tuple(axes))
    return spec


def is_model(name: str) -> bool:
    """Tell whether a model has this name."""
    return name in MODELS or any(name in families(axes) for axes in _AXES) or _terms(name) is not None


def model_names() -> list[str]:
    """Return the names of all models, for messages; sparse ones as a range."""
    return [*MODELS, *families(2), f"{SPARSE}1 to {SPARSE}{MOST_TERMS}"]


_AXES = (2, 1, 3)  # in the order in which their families are named


def _families_of(model: str, axes: tuple[int, ...]) -> tuple[str, ...]:
    """Return the families of a named set, or the one of this name, on all numbers of axes that occur."""
    if model not in MODELS:
        return (_known(model, axes),)
    names = [name for count in _AXES if count in axes for name in MODELS[model](count)]
    if not names:
        raise ModelError(f"model {model!r} is defined for kernels of two axes, not of {_listed(axes)}")
    return tuple(dict.fromkeys(names))


def _known(name: str, axes: tuple[int, ...]) -> str:
    """Return the name of a family that some of the filters can have."""
    if not any(name in families(count) for count in axes):
        if any(name in families(count) for count in _AXES):
            raise ModelError(f"family {name!r} is not defined for kernels of {_listed(axes)}")
        family(name, axes[0] if axes else 2)
    return name


def _listed(axes: tuple[int, ...]) -> str:
    return " and ".join(f"{count} {'axis' if count == 1 else 'axes'}" for count in sorted(axes))


def _terms(model: str) -> int | None:
    """Return the number of terms in the name of a sparse model."""
    count = model.removeprefix(SPARSE)
    if count == model or not (count.isascii() and count.isdigit()):
        return None
    if not 1 <= int(count) <= MOST_TERMS:
        raise ModelError(f"a sparse model has 1 to {MOST_TERMS} terms, got {model!r}")
    return int(count)


def _check_sense(spec: FitSpec, axes: tuple[int, ...]) -> None:
    """Refuse combinations that have no meaning."""
    if spec.terms:
        _check_goes_with(SPARSE, spec)
    known = {name: families(count)[name] for count in axes for name in spec.families if name in families(count)}
    for name, model in known.items():
        if spec.normalization == "moment" and name not in ideal(model.axes):
            why = (
                "it fixes one amplitude beforehand, and a jet has a free coefficient for each derivative"
                if model.mixed
                else "the moments of the paper are those of the idealized families"
            )
            raise ModelError(f"normalization 'moment' makes no sense for {name!r}: {why}; use normalization='affine'")
        if spec.by_variance and not (name in ideal(model.axes) or model.is_outer_product):
            why = "a mixture of derivatives" if model.mixed else "a sum of terms"
            raise ModelError(
                f"criterion {spec.criterion!r} makes no sense for {name!r}: it compares the width of the filter with "
                f"that of one template, and {why} has no width of its own; use criterion 'l2' or 'l1'"
            )
        if spec.scales == "shared" and model.parametrization.groups is None:
            names = ", ".join(model.parametrization.names)
            raise ModelError(
                f"scales 'shared' makes no sense for {name!r}, whose parameters are {names} for each filter"
            )
        if name in ORIENTED and spec.discretization != "discrete":
            raise ModelError(f"{name!r} has a form for discretization='discrete' only, got {spec.discretization!r}")
        _check_goes_with(name, spec)
    _check_goes_with(spec.criterion, spec)
    _check_goes_with(spec.model, spec)
    _check_goes_with(spec.discretization, spec)


def _check_goes_with(name: str, spec: FitSpec) -> None:
    """Refuse options that a criterion, a model, a family or a discretization does not go with."""
    allowed, sentence = _GOES_WITH.get(name, ({}, ""))
    if any(getattr(spec, option) not in values for option, values in allowed.items()):
        raise ModelError(sentence.format(spec, name))
