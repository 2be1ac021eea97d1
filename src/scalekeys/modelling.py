"""Models of filters by the names that a user gives: keys, templates, families, jets, or noise."""

from collections.abc import Callable
from pathlib import Path

from scalekeys.checkpoints import read_filters
from scalekeys.errors import ModelError, perhaps
from scalekeys.filters import MASTER_KEY_FAMILIES, FilterBank, Modelled, assign_keys, copies, noise_model
from scalekeys.fitting import fit
from scalekeys.fitting.spec import Criterion, Scales, is_model, model_names
from scalekeys.paper import TEMPLATE_METHODS, method_templates
from scalekeys.scalespace import Discretization

KEYS, NOISE, COPIES, METHOD = "keys", "noise", "copies", "method:"
FILES = (".npy", ".csv")


def model_filters(
    bank: FilterBank,
    model: str = "jet2",
    *,
    criterion: Criterion | None = None,
    scales: Scales | None = None,
    discretization: Discretization | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Modelled:
    """Model filters by what a name stands for.

    Parameters
    ----------
    bank : FilterBank
    model : str
        What :func:`scalekeys.fit` takes: ``"ideal"``, ``"jet2"``, ``"sparse6"``, a family, or families with commas.
        ``"keys"``: the published filter that is most like each, by the paper's rule (:func:`scalekeys.assign_keys`);
        ``"method:C2"``: the same with the eight templates of one of the paper's methods instead, A, B, C1, C2, D1 or
        D2; the name of a ``.npy`` or ``.csv`` file: with the filters in it. ``"copies"``: filters that correlate by
        more than 0.99 with one before them in their layer are made from that one, and the others stay
        (:func:`scalekeys.filters.copies`). ``"noise"``: noise of the same mean and norm, as a control.
    criterion, scales, discretization : str, optional
        See :func:`scalekeys.fit`; only where something is fitted.
    seed : int
        Of the noise.
    progress : callable, optional
        Called with the number of filters fitted since the last call.

    Returns
    -------
    Fit, KeyAssignment, Copies or NoiseModel

    Raises
    ------
    ModelError
        If there is no such model, or an option makes no sense for it.
    CheckpointError
        If a file of keys cannot be read.

    Examples
    --------
    >>> import scalekeys as sk
    >>> bank = sk.extract("builtin:master-keys")
    >>> model_filters(bank, "method:D1")
    KeyAssignment(8 of 8 filters to 8 keys)
    >>> sk.replacement(model_filters(bank, "jet2"))
    Replacement(8 of 8 filters, 72 numbers for 392 taps)
    """
    given = {"criterion": criterion, "scales": scales, "discretization": discretization}
    options = {name: value for name, value in given.items() if value is not None}
    is_file = model.lower().endswith(FILES)
    if not (is_file or model in (KEYS, NOISE, COPIES) or model.startswith(METHOD)):
        return fit(bank, _families(model), progress=progress, **options)  # type: ignore[arg-type]
    if options:
        raise ModelError(f"nothing is fitted with model {model!r}, so that it takes no {' and no '.join(options)}")
    if model == NOISE:
        return noise_model(bank, seed=seed)
    if model == COPIES:
        return copies(bank)
    if model == KEYS:
        return assign_keys(bank)
    if is_file:
        keys = read_filters(Path(model))
        return assign_keys(bank, keys, names=[f"key {number}" for number in range(len(keys))])
    return assign_keys(bank, method_templates(model.removeprefix(METHOD)), names=MASTER_KEY_FAMILIES)


def _families(model: str) -> str | tuple[str, ...]:
    if "," in model:
        return tuple(name.strip() for name in model.split(","))
    if not is_model(model):
        methods, meant = ", ".join(TEMPLATE_METHODS), perhaps(model, (KEYS, COPIES, NOISE, *model_names()))
        raise ModelError(
            f"no model is called {model!r}{meant}; use {KEYS}, {COPIES}, {NOISE}, a .npy or .csv file of keys, "
            f"{METHOD} with {methods}, or {', '.join(model_names())}"
        )
    return model
