"""Fit: what is known of every filter after a fit, as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting.evidence import evidence
from scalekeys.fitting.prepare import DEAD, STATUSES
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.stack import StackFit, mixture
from scalekeys.fitting.table import fit_table
from scalekeys.fitting.templates.grid import infinite_variance
from scalekeys.fitting.uncertainty import SCALE_STATUSES
from scalekeys.scalespace import Family
from scalekeys.shapes import over_taps

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Fit:
    """The fit of a bank of filters: one entry per filter, in the order of the bank.

    Parameters
    ----------
    bank : FilterBank
        The filters that were fitted.
    spec : FitSpec
        How.
    values : StackFit
        The raw result.
    shape : tuple of int or None
        Leading shape of the filters, where a tensor was given instead of a bank.
    """

    bank: FilterBank
    spec: FitSpec
    values: StackFit
    shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.bank)

    def __repr__(self) -> str:
        return f"Fit({self.bank!r}, {self.spec}, share explained {self.share_explained:.3f})"

    @cached_property
    def family(self) -> np.ndarray:
        """Name of the best family of each filter, or an empty string where there is no fit; shape (filters,).

        For a sparse model its name.
        """
        return np.take([*self.spec.labels, ""], self.values.family.cpu().numpy(), mode="wrap")

    @cached_property
    def status(self) -> np.ndarray:
        """A short word for each filter (`ok`, `polynomial`, `at-bound`, `zero-filter`, ...); shape (filters,)."""
        return np.take(STATUSES, self.values.status.cpu().numpy())

    @cached_property
    def dead(self) -> np.ndarray:
        """Which filters nothing comes of: those that are zero, or negligible in their network; shape (filters,).

        A dead filter has no family, and stands in no median, no share and no cluster; a replacement keeps it. The model
        of a dead filter is zero. (A constant filter is not dead: it takes means.)

        Examples
        --------
        >>> import scalekeys as sk
        >>> keys = sk.master_keys()
        >>> keys[2] *= 1e-30
        >>> fit = sk.fit(keys)
        >>> print(fit.status[1:4], fit.dead[1:4])
        ['ok' 'negligible' 'ok'] [False  True False]
        """
        return np.isin(self.status, DEAD)

    @cached_property
    def sigma(self) -> Tensor:
        """Scale parameters of the axes (x, y, z) as standard deviations in pixels; shape (filters, axes).

        For `dog` the smaller scale. Infinite where the window shows no decay: beyond eight sides of the kernel. NaN
        where there is no fit, along an axis of one tap, where no scale can be seen, and along an axis that a filter
        does not have.
        """
        found = self.values.r2.new_full((len(self), self.axes), torch.nan)
        for layer, rows, family in self._groups():
            own = family.parametrization
            t = own.axis_variances(self.values.parameters[rows, : len(own.names)])
            infinite = t > infinite_variance(layer.size)
            found[rows, : layer.axes] = torch.where(infinite, torch.inf, t.sqrt())
        return torch.where(self._unseen, torch.nan, found)

    @property
    def axes(self) -> int:
        """The largest number of axes of the filters."""
        return max((layer.axes for layer in self.bank), default=2)

    @cached_property
    def parameter_columns(self) -> dict[str, Tensor]:
        """What families have beside a scale for each axis, by name, such as the strength `alpha` of `sharpen`.

        Shape (filters,) each; NaN for the other families.
        """
        found: dict[str, Tensor] = {}
        for _, rows, family in self._groups():
            own = family.parametrization
            for name, values in own.columns(self.values.parameters[rows, : len(own.names)]).items():
                found.setdefault(name, torch.full_like(self.values.r2, torch.nan))[rows] = values
        return found

    @property
    def sigma_outer(self) -> Tensor:
        """The larger scale of `dog`, for all axes, NaN for the other families; shape (filters,).

        The smaller one is :attr:`sigma`.
        """
        return self._column("sigma_outer")

    @cached_property
    def sigma_error(self) -> Tensor:
        """Standard errors of the scales, in pixels; shape (filters, axes).

        From the curvature of the sum of squares at the optimum, for residuals that are independent from tap to tap. NaN
        where :attr:`sigma_status` is not `ok` or `flat`, and for every criterion but l2 and for shared scales.
        """
        return torch.where(self._unseen, torch.nan, self.values.scale_error)

    @cached_property
    def sigma_status(self) -> np.ndarray:
        """Whether each scale is identifiable, in a word; shape (filters, axes).

        `ok`; `flat`: two standard errors either side span the whole range up to the side of the kernel, or nothing
        curves upwards; `infinite`: the window shows no decay; `at-zero`, `at-bound`: the optimum lies at an end of the
        range; empty where there is no fit, or a criterion without a curvature.
        """
        words = np.take([*SCALE_STATUSES, ""], self.values.scale_status.cpu().numpy(), mode="wrap")
        blank = self.spec.criterion != "l2" or self.spec.scales == "shared"
        return np.where(self._unseen.cpu().numpy() | blank, "", words)

    @property
    def alpha(self) -> Tensor:
        """Strength of `sharpen`, NaN for the other families; shape (filters,)."""
        return self._column("alpha")

    @property
    def angle(self) -> Tensor:
        """Angle of an oriented family in radians, from 0 to pi, counter-clockwise from the x axis; shape (filters,).

        NaN for the other families.
        """
        return self._column("angle")

    def _column(self, name: str) -> Tensor:
        return self.parameter_columns.get(name, torch.full_like(self.values.r2, torch.nan))

    @property
    def coefficients(self) -> Tensor:
        """Coefficients of the components of each family, zero beyond the last; shape (filters, components).

        One for an idealized receptive field, its amplitude. For a jet one for each derivative, in the order of the
        components of :data:`scalekeys.scalespace.FAMILIES`: 1, x, y, xx, xy, yy, ...
        """
        return self.values.coefficients

    @cached_property
    def amplitude(self) -> Tensor:
        """The a of ``a K + b``, NaN for a jet; shape (filters,).

        Where a scale is infinite, K is the limit of the template with mean 0 and norm 1, see
        :func:`scalekeys.scalespace.template`. Where several scales are, their ratio counts too, which only
        ``values.parameters`` keeps.
        """
        return torch.where(self._mixed, torch.nan, self.values.coefficients[:, 0])

    @property
    def offset(self) -> Tensor:
        """The b of ``a K + b``; shape (filters,)."""
        return self.values.offset

    @property
    def r2(self) -> Tensor:
        """Share of the energy of the centred filter that the model explains; shape (filters,).

        At most 1; below 0 where an amplitude that is not that of least squares makes it worse than a constant.
        """
        return self.values.r2

    @property
    def r2_response(self) -> Tensor:
        """Share of the variance of a filter's responses that the model explains; shape (filters,).

        NaN for every criterion but `response`, which maximises it up to the offset.
        """
        return self.values.r2_response

    @cached_property
    def evidence(self) -> Tensor:
        """By how much the Bayesian information criterion of a constant exceeds that of the model; shape (filters,).

        ``-n log(1 - r2) - (p - 1) log n`` for n taps and p numbers. NaN but for l2 with free amplitudes and a scale for
        each axis, where models of any numbers compare, and NaN for sparse models, which choose their terms.
        """
        spec = self.spec
        if not spec.is_plain or spec.scales != "per-axis" or spec.terms:
            return torch.full_like(self.r2, torch.nan)
        taps = self._per_filter(torch.tensor([layer.kernels[0].numel() for layer in self.bank.layers]))
        return evidence(self.r2, self._numbers, taps.to(self._numbers.device))

    @cached_property
    def numbers(self) -> Tensor:
        """How many numbers stand for each filter: scales, coefficients, offset, and which family if several compete.

        Those of a sparse model are its scales, its coefficients, the offset, and which derivatives they are. Of type
        int64, shape (filters,); 0 where there is no fit.
        """
        fitted, terms = self.values.family >= 0, self.spec.terms
        if terms:
            axes = self._per_filter(torch.tensor([layer.axes for layer in self.bank.layers])).to(fitted.device)
            return torch.where(fitted, terms + axes + 2, 0)
        return torch.where(fitted, self._numbers + (len(self.spec.families) > 1), 0)

    @cached_property
    def _numbers(self) -> Tensor:
        """How many numbers the family of each filter fits; 0 where there is no fit."""
        counts = torch.zeros_like(self.values.family)
        for layer, rows, family in self._groups():
            counts[rows] = self.spec.numbers(family.name, layer.size)
        return counts

    @property
    def residual_l1(self) -> Tensor:
        """Sum of absolute differences between filter and model, in the units of the filter; shape (filters,)."""
        return self.values.residual_l1

    @property
    def residual_l2(self) -> Tensor:
        """Root of the summed squared differences, in the units of the filter; shape (filters,)."""
        return self.values.residual_l2

    @property
    def share_explained(self) -> float:
        """Share of the energy of all centred filters together that the models explain; NaN without any fit.

        The mean of :attr:`r2` over the fitted filters, each weighted with the square of its centred norm. So a strong
        filter counts more than a weak one, as in the outputs of a layer. Where one filter is much stronger than all
        others together (:attr:`strongest` tells), the share is the r2 of that filter; the median of :attr:`r2` then
        says more.
        """
        return self.share_of(torch.ones(len(self), dtype=torch.bool))

    def share_of(self, mask: Tensor) -> float:
        """Share of the energy of the masked centred filters that the models explain; only fitted filters count."""
        fitted = mask.to(self.r2.device) & (self.values.family >= 0)
        return float((self.r2[fitted] * _shares(self.values.norm[fitted])).sum()) if fitted.any() else float("nan")

    @property
    def strongest(self) -> float:
        """Share of the energy of all fitted, centred filters together that one filter holds; NaN without any fit."""
        norms = self.values.norm[self.values.family >= 0]
        return float(_shares(norms).max()) if len(norms) else float("nan")

    def kernels(self) -> FilterBank | Tensor:
        """Return the modelled filters ``a K + b``, in the layers and shapes, and the dtype, of what was fitted.

        A filter that is zero or constant is its own model, and the model of a negligible filter is zero; one that is
        not finite or not supported becomes NaN.

        Returns
        -------
        FilterBank, or Tensor of shape (..., *size) where a tensor was fitted

        Examples
        --------
        >>> import scalekeys as sk
        >>> sk.fit(sk.master_keys()).kernels().shape
        torch.Size([8, 7, 7])
        """
        stacks = []
        for layer, part in self.bank.parts():
            family, parameters = self.values.family[part], self.values.parameters[part]
            coefficients, offset = self.coefficients[part], self.offset[part]
            model = mixture(family, parameters, coefficients, offset, self.spec, layer.size)
            flat = (coefficients.nan_to_num() == 0).all(-1) & ~offset.isnan()
            flat, offset = (over_taps(values, layer.axes) for values in (flat, offset))
            stacks.append(torch.where(flat, offset, model).to(layer.kernels))
        if self.shape is not None:
            return stacks[0].reshape(*self.shape, *stacks[0].shape[1:])
        return self.bank.with_filters(stacks)

    def to_arrow(self) -> pa.Table:
        """Return one row a filter, with the columns of the documentation.

        Examples
        --------
        >>> import scalekeys as sk
        >>> sk.fit(sk.master_keys()).to_arrow().column_names[:4]
        ['model', 'layer', 'depth', 'channel']
        """
        return fit_table(self, self._mixed.cpu().numpy())

    def to_pandas(self) -> "pd.DataFrame":
        """Return :meth:`to_arrow` as a data frame; a missing integer is `<NA>`, a missing family is None or NaN."""
        import pandas as pd

        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
        return frame

    def _groups(self) -> Iterator[tuple[LayerFilters, Tensor, Family]]:
        """Yield each layer and each family that some of its filters have, with where they are in the bank."""
        for layer, part in self.bank.parts():
            own = self.values.family[part]
            for index in own.unique().tolist():
                family = self.spec.base(self.spec.families[index], layer.axes) if index >= 0 else None
                if family is not None:
                    yield layer, (own == index).nonzero()[:, 0] + part.start, family

    @cached_property
    def _mixed(self) -> Tensor:
        """Which filters have a model of several coefficients, as of a jet; False where there is no fit."""
        found = torch.zeros_like(self.values.family, dtype=torch.bool)
        for _, rows, family in self._groups():
            found[rows] = family.mixed
        return found

    @cached_property
    def _unseen(self) -> Tensor:
        """Which axes (x, y, z) of each filter have one tap, where no scale can be seen, or are none."""
        sides = [[*reversed(layer.size), *[1] * (self.axes - layer.axes)] for layer in self.bank.layers]
        return self._per_filter(torch.tensor(sides) == 1).to(self.values.family.device)

    def _per_filter(self, per_layer: Tensor) -> Tensor:
        counts = torch.tensor([len(layer) for layer in self.bank.layers], dtype=torch.long)
        return per_layer.repeat_interleave(counts, dim=0)


def _shares(norms: Tensor) -> Tensor:
    """Return the share of each filter in the energy of all; filters of any norm."""
    energy = (norms / norms.max()).square()
    return energy / energy.sum()
