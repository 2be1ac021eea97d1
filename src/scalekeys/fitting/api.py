"""The one public entry to fitting."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank
from scalekeys.fitting.metric import metric_of
from scalekeys.fitting.patch_covariance import PatchCovariance
from scalekeys.fitting.prepare import STATUSES, prepare
from scalekeys.fitting.result import Fit
from scalekeys.fitting.search.families import grids_for
from scalekeys.fitting.search.shared_scales import group_labels, labels_of, shared_parameters, unshared
from scalekeys.fitting.spec import Criterion as CriterionName
from scalekeys.fitting.spec import FitSpec, Normalization, Scales, parse_spec
from scalekeys.fitting.stack import StackFit, chunks_of, coordinates_of, fit_chunk, measure
from scalekeys.scalespace import Discretization, Window
from scalekeys.shapes import ArrayLike, as_float_tensor, over_taps, size_text
from scalekeys.threads import in_threads, one_thread


def fit(
    filters: FilterBank | ArrayLike,
    model: str | Sequence[str] = "ideal",
    *,
    axes: int = 2,
    criterion: CriterionName = "l2",
    scales: Scales = "per-axis",
    normalization: Normalization = "affine",
    window: Window = "exact",
    discretization: Discretization = "discrete",
    families: Sequence[str] | np.ndarray | None = None,
    groups: str | Sequence[Hashable] | None = None,
    covariance: PatchCovariance | ArrayLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fit:
    r"""Fit idealized receptive fields, or jets, to filters; the families of a model compete for each filter.

    Parameters
    ----------
    filters : FilterBank, or Tensor or array of shape (..., *size)
        Filters of one, two or three axes and any sides; several sizes in one bank are fitted size by size.
    model : str or sequence of str
        ``"ideal"`` for the 3 D + 2 idealized receptive fields of D axes (``"ideal8"`` is its name for the paper's eight
        of two axes), ``"second-order"`` for the second derivatives and the Laplacian, ``"oriented"`` for smoothing and
        derivatives along any angle, the name of one family (``"dog"`` is the difference of two smoothings), or several
        names.
        ``"jet1"``, ``"jet2"`` and ``"jet3"`` mix all derivatives up to an order with free coefficients;
        ``"sparse6"`` mixes the six that explain most, of all up to order 6, and so on for other numbers. With
        ``"auto"`` all but these compete by evidence, and a filter whose best model has no more of it than white noise
        reaches in one filter of twenty is `unexplained`.
    axes : int
        How many of the last dimensions of a tensor are the axes of its filters; a bank knows by itself.
    criterion : {"l2", "l1", "response", "variance", "variance-continuous"}
        What decides the scales. `l2`, `l1`: the least sum of squared or of absolute differences between filter and
        model. `response`: the least variance of the difference of what both answer to the patches that the filter
        sees, ``(h - m)^T S (h - m)`` with their `covariance` S. `variance`: the template that is as wide as the
        filter along each axis, both weighted with the template at scale 1. `variance-continuous`: the same width,
        turned into a scale by the formula for continuous Gaussians.
    scales : {"per-axis", "common", "shared"}
        A scale for each axis, one for all axes, or one for a group of filters. (`sharpen` has one for all axes, and a
        strength alpha.)
    normalization : {"affine", "moment"}
        How amplitude and offset come about in ``h ~ a K + b``. `affine`: free, with the best values in the sense of
        the criterion (of least squares, where it compares widths). `moment`: those of
        :func:`scalekeys.moment_normalization`, fixed beforehand, as in the paper.
    window : {"exact", "published"}
        Whether templates are differences of the full kernel, cropped to the window (exact), or differences taken
        inside the window, as in the published scripts.
    discretization : str
        How Gaussian derivatives are discretized: ``"discrete"``, differences of the discrete analogue of the Gaussian;
        ``"sampled"``, ``"normalized-sampled"``, ``"integrated"``, ``"hybrid-sampled"`` or ``"hybrid-integrated"``, see
        :func:`scalekeys.scalespace.gaussian_derivative`. With all but the first, scales begin at 0.2 pixels.
    families : sequence of str, one a filter, optional
        The family of each filter, where it is known; by default the families of the model compete.
    groups : str or sequence of labels, one a filter, optional
        With ``scales="shared"``: which filters share a scale. ``"paper"`` (the default): the centred differences in
        one group, the one-sided ones and `smooth` in another. ``"family"``, ``"layer"``, ``"all"``: what they say.
        A filter labelled None is alone.
    covariance : PatchCovariance, or Tensor or array of shape (taps, taps) or (filters, taps, taps), optional
        With ``criterion="response"``: what the filters see, by layer (:func:`scalekeys.patch_covariance` measures it),
        for each filter, or for all. By default :func:`scalekeys.natural_image_covariance`, with the dilation of each
        layer.
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
        If a model or option is unknown, and the message lists what is allowed; or if options make no sense together,
        and the message says why.
    FilterError
        If the filters have fewer dimensions than axes, or are not real numbers.

    Notes
    -----
    For l1 and l2 the loss is minimised over all scales: first on a grid of templates up to the side of the kernel,
    whose measured covering radius tells what a finer search could still gain, then by a safeguarded Newton method with
    exact derivatives, from every local minimum of the grid that can still win, in the coordinate
    :math:`u = t / (c + t)`. There an infinite scale is the ordinary end point u = 1, where a receptive field with a
    free amplitude and offset becomes a polynomial. (Mixtures, the strength of `sharpen`, and fixed amplitudes have no
    such limit: their scales end at the side of the kernel.) For l1 with a free amplitude the gain of a finer search is
    bounded by experience. The absolute values of l1 are approached by :math:`\sqrt{r^2 + \epsilon^2}` with a
    decreasing :math:`\epsilon`. Coefficients and offset are eliminated. The scales of an l1 fit need not be unique.

    Where scales are shared, families are chosen first, with a scale for each filter. A filter then counts in units of
    its centred norm or, where its amplitude is fixed by moments, of this amplitude, so that one with a moment near zero
    decides for its group.

    For the criteria that compare widths, families compete by the squares that they leave. What has no width is that of
    l2: scale and strength of `sharpen`, as in the paper, and the scale along a derivative of three taps. From the
    filters of `smooth` the :func:`scalekeys.dc_offset` is subtracted before they are measured, and where the offset is
    free, from those of a derivative, and from its templates, their mean.

    The derivatives of a sparse model are chosen one after another and then exchanged one by one, at scales from a grid
    that are refined by halved steps: a good model, not certainly the best.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, for the families and criteria.

    Examples
    --------
    >>> import scalekeys as sk
    >>> result = sk.fit(sk.master_keys())
    >>> print(*result.family)
    dy+ dx- dy- dx+ dx dy sharpen smooth

    The scale of the paper's filter 8 by its method C with one for both axes (published: 0.6120):

    >>> options = {"criterion": "l1", "scales": "common", "normalization": "moment", "window": "published"}
    >>> sk.fit(sk.master_keys()[7], "smooth", **options).sigma
    tensor([[0.6122, 0.6122]], dtype=torch.float64)
    """
    bank, shape = _as_bank(filters, axes)
    if not len(bank):
        raise FilterError(f"{bank.model}: there are no filters to fit")
    counts = dict.fromkeys(layer.axes for layer in bank)
    spec = parse_spec(
        model,
        counts,
        criterion=criterion,
        scales=scales,
        normalization=normalization,
        window=window,
        discretization=discretization,
    )
    if covariance is not None and criterion != "response":
        raise ModelError(f"covariance is what filters see, for criterion='response', not for {criterion!r}")
    if groups is not None and scales != "shared":
        raise ModelError(f"groups name which filters share a scale, so they need scales='shared', not {scales!r}")
    with one_thread():
        if not any(grids_for(size, spec) for size in bank.sizes):
            sizes = ", ".join(map(size_text, bank.sizes))
            raise ModelError(f"none of the families {', '.join(spec.families)} can be told apart on kernels of {sizes}")
        assigned = None if families is None else _assigned(families, bank, spec)
        metric = metric_of(bank, covariance) if criterion == "response" else None
    if scales != "shared":
        return Fit(bank, spec, _fit_bank(bank, spec, assigned, progress, metric), shape=shape)
    alone = Fit(bank, unshared(spec), _fit_bank(bank, unshared(spec), assigned, progress), shape=shape)
    return share_scales(alone, "paper" if groups is None else groups)


def share_scales(alone: Fit, groups: str | Sequence[Hashable]) -> Fit:
    """Return the fit with one scale for each group of filters.

    Parameters
    ----------
    alone : Fit
        The fit of each filter by itself: with a common scale for l1 and l2, per axis for a criterion of widths.
    groups : str or sequence of labels, one a filter
        See :func:`fit`.

    Raises
    ------
    ModelError
        If the groups are not what :func:`fit` takes.
    """
    bank, values, spec = alone.bank, alone.values, replace(alone.spec, scales="shared")
    labels, count = group_labels(groups, bank, values.family, spec)
    with one_thread():
        parameters = shared_parameters(bank, values.family, values.parameters, labels, count, spec)
        return Fit(bank, spec, _measure_bank(bank, values.family, parameters, spec), shape=alone.shape)


def _as_bank(filters: FilterBank | ArrayLike, axes: int) -> tuple[FilterBank, tuple[int, ...] | None]:
    """Return a bank, and the leading shape of a tensor."""
    if isinstance(filters, FilterBank):
        return filters, None
    values = as_float_tensor(filters)
    bank = FilterBank.from_tensor(values.detach(), axes=axes)
    return bank, tuple(values.shape[: values.ndim - axes])


def _assigned(families: Sequence[str] | np.ndarray, bank: FilterBank, spec: FitSpec) -> Tensor:
    """Index of the family of each filter among those of the spec; -1 for an empty name, of a filter without a fit."""
    known = {name: index for index, name in enumerate(spec.families)} | {"": -1}
    names = [str(label) for label in labels_of(families, len(bank), "families must name one family")]
    for name in names:
        if name not in known:
            raise ModelError(f"families names {name!r}, which is not in the model ({', '.join(spec.families)})")
    assigned = torch.tensor([known[name] for name in names], dtype=torch.long)
    for size in bank.sizes if bool((assigned < 0).any()) else ():
        stack, positions = bank.of_size(size)
        nameless = (assigned[positions] < 0) & (prepare(stack).status.cpu() == 0) & ~bank.negligible[positions]
        if nameless.any():
            raise ModelError(f"families has no name for filter {int(positions[nameless][0])}; name one of the model")
    return assigned


def _fit_bank(
    bank: FilterBank,
    spec: FitSpec,
    assigned: Tensor | None,
    progress: Callable[[int], None] | None,
    metric: Callable[[Tensor], Tensor] | None = None,
) -> StackFit:
    """Fit chunks of filters of one kernel size, several at a time."""
    stacks = _stacks(bank)
    chunks = [chunk for stack in stacks for chunk in chunks_of(*stack, weighted=metric is not None)]
    chunks.sort(key=lambda chunk: chunk[0].numel(), reverse=True)  # so that no thread begins the longest one last

    def fitted(chunk: tuple[Tensor, Tensor]) -> StackFit:
        filters, positions = chunk
        mine = None if assigned is None else assigned[positions].to(filters.device)
        return fit_chunk(filters, spec, mine, None if metric is None else metric(positions).to(filters.device))

    on_processor = all(filters.device.type == "cpu" for filters, _ in chunks)
    parts = []
    for part in in_threads(fitted, chunks, None if on_processor else 1):
        parts.append(part)
        if progress is not None:
            progress(len(part.family))
    return _in_order(bank, parts, [positions for _, positions in chunks])


def _measure_bank(bank: FilterBank, family: Tensor, parameters: Tensor, spec: FitSpec) -> StackFit:
    """Measure given families and parameters size by size."""
    stacks = _stacks(bank)
    parts = []
    for stack, positions in stacks:
        mine = positions.to(family.device)
        coordinates = coordinates_of(family[mine], parameters[mine], spec, tuple(stack.shape[1:]))
        parts.append(measure(stack, family[mine], coordinates, spec))
    return _in_order(bank, parts, [positions for _, positions in stacks])


def _stacks(bank: FilterBank) -> list[tuple[Tensor, Tensor]]:
    """Return the filters of each kernel size, a negligible one as zero, and their positions in the bank."""
    stacks = []
    for size in bank.sizes:
        stack, positions = bank.of_size(size)
        negligible = bank.negligible[positions].to(stack.device)
        stacks.append((stack.masked_fill(over_taps(negligible, len(size)), 0.0), positions))
    return stacks


def _in_order(bank: FilterBank, parts: Sequence[StackFit], positions: Sequence[Tensor]) -> StackFit:
    """Join the fits of some filters in the order of the bank, with the status of negligible ones."""
    order = torch.argsort(torch.cat(list(positions)))
    joined = {f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(StackFit)}
    whole = StackFit(**{name: values[order.to(values.device)] for name, values in joined.items()})
    negligible = bank.negligible.to(whole.status.device)
    return replace(whole, status=whole.status.masked_fill(negligible, STATUSES.index("negligible")))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Join rows of different widths; what is missing is NaN, zero coefficients, or no word (-1)."""
    if parts[0].ndim == 1:
        return torch.cat(list(parts))
    width = max(part.shape[1] for part in parts)
    blank = torch.nan if parts[0].is_floating_point() else -1
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1]), value=blank) for part in parts])
