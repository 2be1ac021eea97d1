"""What a fit is linear in: the parts that its coefficients and offsets weight, and the fit with other weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scalekeys.filters.bank import LayerFilters
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.fitting.losses.responses import response_share
from scalekeys.fitting.metric import metric_of
from scalekeys.fitting.patch_covariance import PatchCovariance
from scalekeys.fitting.result import Fit
from scalekeys.fitting.stack import components_of
from scalekeys.shapes import over_taps


@dataclass(frozen=True, eq=False)
class LinearParts:
    """The models of a layer as weighted sums: each filter is ``sum over parts of weight * part``."""

    parts: Float[Tensor, "filters parts *sides"]
    """Templates at the scales of each filter, and the constant; zero where a filter has fewer, or no model."""
    weights: Float[Tensor, "filters parts"]
    column: Int[Tensor, "filters parts"]
    """Which coefficient of the fit each weight is; the offset follows the last coefficient."""

    @property
    def modelled(self) -> Bool[Tensor, "filters"]:
        """Which filters have a model."""
        return self.parts.flatten(1).ne(0).any(1)


def linear_parts(fit: Fit, rows: slice, layer: LayerFilters) -> LinearParts:
    """Return what the models of a layer are sums of.

    `rows`: where the filters of the layer stand in the fit.
    """
    family = fit.values.family[rows]
    weights = torch.cat([fit.coefficients[rows], fit.offset[rows, None]], dim=1).nan_to_num(0.0)
    whole = weights.new_zeros(*weights.shape, *layer.size)
    used = weights.new_zeros(weights.shape, dtype=torch.bool)
    for index, name in enumerate(fit.spec.families):
        mine = (family == index).nonzero()[:, 0]
        if len(mine):
            components = components_of(name, fit.values.parameters[rows][mine], fit.spec, layer.size)
            whole[mine, : components.shape[1]] = components
            used[mine, : components.shape[1]] = True
    used[:, -1] = family >= 0
    whole[:, -1] = over_taps(family >= 0, layer.axes).to(whole)
    if fit.spec.terms:
        used &= weights != 0
    column = used.long().topk(max(1, int(used.sum(1).max())), dim=1).indices
    kept = used.gather(1, column)
    places = torch.arange(len(weights), device=weights.device)[:, None]
    parts = whole[places, column] * over_taps(kept, layer.axes)
    return LinearParts(parts, weights.gather(1, column) * kept, column)


def with_weights(fit: Fit, weights: Sequence[Tensor], covariance: PatchCovariance) -> Fit:
    """Return a fit to responses with other coefficients and offsets at the same scales.

    `fit`: with ``criterion="response"``.
    `weights`: of shape (filters of a layer, parts); in the places of :func:`linear_parts`, layer by layer.
    """
    both = torch.cat([fit.coefficients, fit.offset[:, None]], dim=1)
    for (layer, rows), mine in zip(fit.bank.parts(), weights, strict=True):
        parts = linear_parts(fit, rows, layer)
        modelled = fit.values.family[rows] >= 0
        new = both[rows].scatter_add(1, parts.column, mine.to(both) - parts.weights)
        both[rows] = torch.where(modelled[:, None], new, both[rows])
    return _measured(
        replace(fit, values=replace(fit.values, coefficients=both[:, :-1], offset=both[:, -1])), covariance
    )


def _measured(fit: Fit, covariance: PatchCovariance) -> Fit:
    """Measure anew what is left over."""
    metric, models = metric_of(fit.bank, covariance), fit.kernels()
    assert not isinstance(models, Tensor)
    left, sums, responses = [], [], []
    for (layer, part), model in zip(fit.bank.parts(), models, strict=True):
        scaled, exponent = in_powers_of_two(layer.kernels, axes=layer.axes)
        magnitude = power_of_two(exponent)
        filters = scaled.flatten(1)
        residual = filters - model.kernels.double().flatten(1) / magnitude[:, None]
        left.append(torch.linalg.vector_norm(residual, dim=-1) * magnitude)
        sums.append(residual.abs().sum(-1) * magnitude)
        responses.append(response_share(filters, residual, metric(torch.arange(part.start, part.stop)).to(filters)))
    fitted = fit.values.family >= 0
    known = fit.values
    lengths = torch.cat(left).to(known.norm)
    values = replace(
        known,
        r2=torch.where(fitted, 1 - (lengths / known.norm).square(), known.r2),
        r2_response=torch.where(fitted, torch.cat(responses).to(known.r2), known.r2_response),
        residual_l1=torch.where(fitted, torch.cat(sums).to(known.r2), known.residual_l1),
        residual_l2=torch.where(fitted, lengths, known.residual_l2),
    )
    return replace(fit, values=values)
