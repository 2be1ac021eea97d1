"""What the channels of a layer start as: families, scales and coefficients."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.filters.keys import master_keys
from scalekeys.fitting import Fit, fit
from scalekeys.networks.constrained.finite_start import with_finite_scales
from scalekeys.networks.constrained.fitted_filters import FittedFilters, fitted_filters, has_two_scales
from scalekeys.scalespace import GAP, IDEAL8, Family, family, ideal
from scalekeys.scalespace.families import ORDERS
from scalekeys.shapes import Size, axes_text, size_text

Derivatives: TypeAlias = str | Sequence[str]
Init: TypeAlias = Literal["keys"] | Fit | None
Sigma: TypeAlias = Tensor | Sequence[float] | float | None

IDEAL = "ideal"
"""The name of all idealized receptive fields together."""

_NARROWEST = 0.5  # the smallest scale that is drawn, in pixels
_SIDES_PER_SIGMA = 5.0  # the kernel is at least so many times as long as the largest scale that is drawn
_STRENGTH = 0.5256  # alpha of `sharpen`, as published for the key
_OUTER = 1.6  # the larger scale of `dog` by the smaller, as of Marr and Hildreth


def families_of(derivatives: Derivatives, channels: int, axes: int) -> tuple[Family, ...]:
    """Return the family of each channel: names are repeated in their order.

    Raises ModelError if there is no such family, or more names than channels, or no name.

    >>> [own.name for own in families_of(["dx", "smooth"], 5, 2)]
    ['dx', 'smooth', 'dx', 'smooth', 'dx']
    """
    if not isinstance(derivatives, Sequence):
        raise ModelError(f"derivatives must be the name of a family, or several names, got {derivatives!r}")
    names = (derivatives,) if isinstance(derivatives, str) else tuple(derivatives)
    if names == (IDEAL,):
        names = ideal(axes)
    elif not names or len(names) > channels:
        raise ModelError(
            f"derivatives must name between one family and one for each of {channels} channels, got {len(names)}"
        )
    known = [family(name, axes) for name in names]
    return tuple(known[channel % len(known)] for channel in range(channels))


def drawn(families: Sequence[Family], sigma: Sigma, size: Size) -> FittedFilters:
    """Return filters of given families, with scales and coefficients that are drawn where they are not given.

    Drawn by the global generator of torch, as the weights of the layers of torch are. The coefficients of a jet are
    normal numbers times :math:`t^{m/2}` for a derivative of order m, which makes all derivatives about as strong.

    `families`: one for each channel.
    `sigma`: in pixels: one for all, one for each channel, or one for each channel and axis (x, y, z). By default drawn
    between 0.5 and a fifth of the shortest side of more than one tap, uniformly in the logarithm.
    `size`: sides of the kernels.
    Raises ModelError if scales have another shape, or are negative or not finite.
    """
    variances = _scales(sigma, len(families), size).square()
    distinct = tuple(dict.fromkeys(families))
    which = torch.tensor([distinct.index(own) for own in families])
    counts = torch.tensor([len(own.components) for own in distinct])[which]
    weights = variances.new_zeros(len(families), int(counts.max()))
    for index, own in enumerate(distinct):
        rows = (which == index).nonzero()[:, 0]
        weights[rows, : len(own.components)] = _weights(own, variances[rows])
    outer = torch.tensor([has_two_scales(own) for own in distinct])[which]
    return FittedFilters(
        size=size,
        window="exact",
        discretization="discrete",
        families=distinct,
        family=which,
        variances=variances,
        gaps=((_OUTER**2 - 1) * variances.mean(1) - GAP).clamp(min=0.0) * outer,
        weights=weights,
        used=torch.arange(weights.shape[1]) < counts[:, None],
        models=variances.new_zeros(len(families), *size),
    )


def _weights(own: Family, variances: Float[Tensor, "filters axes"]) -> Float[Tensor, "filters components"]:
    """Return what the components of filters of one family start with."""
    if own.mixed:
        orders = torch.tensor([[ORDERS[name] for name in part[0].operators] for part in own.components])
        normalized = (variances[:, None] ** (orders / 2)).prod(-1)
        return normalized * torch.randn(normalized.shape, dtype=torch.float64)
    if has_two_scales(own):
        return variances.new_tensor([1.0, -1.0]).expand(len(variances), -1)
    return variances.new_tensor([1.0, _STRENGTH])[: len(own.components)].expand(len(variances), -1)


def _scales(sigma: Sigma, channels: int, size: Size) -> Float[Tensor, "channels axes"]:
    """Return scales in pixels."""
    axes = len(size)
    if sigma is None:
        widest = min((side for side in size if side > 1), default=1) / _SIDES_PER_SIGMA
        ratio = max(widest / _NARROWEST, 1.0)
        return _NARROWEST * ratio ** torch.rand(channels, 1, dtype=torch.float64).expand(-1, axes)
    fault = f"sigma must be numbers of pixels, got {sigma!r}"
    if isinstance(sigma, Tensor) and sigma.is_complex():
        raise ModelError(fault)
    try:
        given = torch.as_tensor(sigma, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError) as error:
        raise ModelError(fault) from error
    shapes = ((), (channels,), (channels, axes))
    if given.shape not in shapes or not bool((given.isfinite() & (given >= 0)).all()):
        raise ModelError(
            f"sigma must be finite scales of at least 0 pixels, one for all or of shape ({channels},) or ({channels}, "
            f"{axes}), got {'values out of range' if given.shape in shapes else f'shape {tuple(given.shape)}'}"
        )
    return (given[:, None] if given.ndim == 1 else given).expand(channels, axes).clone()


def of_keys(channels: int, axes: int) -> FittedFilters:
    """Return the models of the eight master keys by the idealized receptive fields, in turn.

    Raises ModelError if kernels do not have two axes, as the keys have.
    """
    if axes != 2:
        raise ModelError(f"init='keys' needs kernels with two axes, as the master keys have, not {axes_text(axes)}")
    return of_fit(fit(master_keys(), list(IDEAL8)), torch.arange(channels) % len(IDEAL8))


def of_fit(models: Fit, rows: Int[Tensor, "channels"]) -> FittedFilters:
    """Return filters of a fit, with finite scales.

    `models`: of filters of one size.
    `rows`: shape (channels,); which of them; each has a family.
    """
    found = models.kernels()
    stacks = [found] if isinstance(found, Tensor) else [layer.kernels for layer in found]
    kernels = torch.cat([stack.reshape(-1, *stack.shape[-models.axes :]) for stack in stacks])
    return with_finite_scales(fitted_filters(models, rows, kernels[rows.to(kernels.device)]))


def rows_of(models: Fit, channels: int, axes: int) -> Int[Tensor, "channels"]:
    """Return which filters of a fit the channels of a layer start as: each its own, or drawn where the numbers differ.

    Raises ModelError if the filters differ in size or have another number of axes, or none of them has a model.
    """
    sizes = {layer.size for layer in models.bank}
    known = (models.values.family.cpu() >= 0).nonzero()[:, 0]
    if len(sizes) != 1 or models.axes != axes or not len(known):
        fault = (
            "none has a model" if sizes and not len(known) else f"there are {', '.join(map(size_text, sorted(sizes)))}"
        )
        raise ModelError(
            f"init needs a fit of filters of one size with {axes_text(axes)}, such as those of one layer; {fault}"
        )
    if len(known) == channels == len(models):
        return known
    return known[torch.randint(len(known), (channels,))]


def outer_variances(filters: FittedFilters) -> Float[Tensor, "filters axes"]:
    """Return the variances (x, y, z) of filters, and of `dog` the larger ones."""
    return filters.variances + (filters.has_gap * (GAP + filters.gaps))[:, None]


def with_size(filters: FittedFilters, size: Size) -> FittedFilters:
    """Return the same filters on a window with other sides.

    Raises ModelError if filters take differences along a side of 1.
    """
    terms = [term for own in filters.families for term in own.terms]
    for axis, side in enumerate(reversed(size)):
        if side < 2 and any(ORDERS[term.operators[axis]] for term in terms):
            raise ModelError(f"the models of init take differences along a side of 1; got {size_text(size)}")
    return replace(filters, size=size, models=filters.variances.new_zeros(len(filters), *size))
