"""The one public entry to fitting."""

from collections.abc import Callable, Sequence
from dataclasses import fields

import torch

from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank
from scalekeys.fitting.engine import StackFit, fit_stack
from scalekeys.fitting.result import Fit
from scalekeys.fitting.spec import Criterion as CriterionName
from scalekeys.fitting.spec import FitSpec, Normalization, Scales, parse_spec
from scalekeys.scalespace import Window
from scalekeys.shapes import ArrayLike, as_float_tensor


def fit(
    filters: FilterBank | ArrayLike,
    model: str | Sequence[str] = "ideal8",
    *,
    criterion: CriterionName = "l2",
    scales: Scales = "per-axis",
    normalization: Normalization = "affine",
    window: Window = "exact",
    progress: Callable[[int], None] | None = None,
) -> Fit:
    r"""Fit idealized receptive fields to filters; the families compete for each filter.

    Parameters
    ----------
    filters : FilterBank, or Tensor or array of shape (..., rows, cols)
        Filters of any odd size; several sizes in one bank are fitted size by size.
    model : str or sequence of str
        ``"ideal8"`` for the eight idealized receptive fields of the paper, the name of one family, or several names.
    criterion : {"l2"}
        What is minimised: the sum of squared differences.
    scales : {"per-axis"}
        A scale parameter for each axis (`sharpen` has one for both, and a strength alpha instead).
    normalization : {"affine"}
        Amplitude and offset are part of the model, ``h ~ a K + b``, and eliminated in closed form.
    window : {"exact", "published"}
        Whether templates are differences of the full kernel, cropped to the window (exact), or differences taken
        inside the window, as in the published scripts.
    progress : callable, optional
        Called with the number of filters done since the last call.

    Returns
    -------
    Fit
        Family, scales, amplitude, offset, r2, residuals and status per filter. A bad filter gets a status and NaN; it
        never stops a batch.

    Raises
    ------
    ModelError
        If a model or option is unknown; the message lists what is allowed.
    FilterError
        If the filters do not end in two axes, or are not real numbers.

    Notes
    -----
    For each family the share explained, :math:`r^2(t_x, t_y) = \langle h, K \rangle^2 / (|h|^2 |K|^2)` of centred
    filter and template, is maximised over :math:`0 \le \sigma \le k` for a kernel of side k: first over a dictionary
    of templates whose covering angle bounds what a finer search could still gain, then by a safeguarded Newton method
    with exact derivatives from every local maximum of the dictionary that can still win.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, for the families.

    Examples
    --------
    >>> import scalekeys as sk
    >>> result = sk.fit(sk.master_keys())
    >>> print(*result.family)
    dy+ dx- dy- dx+ dx dy sharpen smooth
    """
    spec = parse_spec(model, criterion=criterion, scales=scales, normalization=normalization, window=window)
    if isinstance(filters, FilterBank):
        return Fit(filters, spec, _fit_bank(filters, spec, progress))
    values = as_float_tensor(filters)
    bank = FilterBank.from_tensor(values.detach())
    return Fit(bank, spec, _fit_bank(bank, spec, progress), shape=tuple(values.shape[:-2]))


def _fit_bank(bank: FilterBank, spec: FitSpec, progress: Callable[[int], None] | None) -> StackFit:
    """Fit size by size, and put the results back in the order of the bank."""
    if not len(bank):
        raise FilterError(f"{bank.model}: there are no filters to fit")
    parts, positions = [], []
    for size in bank.sizes:
        stack, position = bank.of_size(size)
        parts.append(fit_stack(stack, spec, progress))
        positions.append(position)
    order = torch.argsort(torch.cat(positions))
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(StackFit)}
    return StackFit(**{name: values[order.to(values.device)] for name, values in joined.items()})
