"""Fit: what is known of every filter after a fit, as columns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from scalekeys.filters import FilterBank
from scalekeys.fitting.engine import StackFit, mixture
from scalekeys.fitting.evidence import evidence, numbers_of
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.table import fit_table
from scalekeys.fitting.targets import DEAD, STATUSES
from scalekeys.fitting.uncertainty import SCALE_STATUSES
from scalekeys.scalespace import FAMILIES, GAP, Family

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
        """A short word for each filter (`ok`, `at-bound`, `zero-filter`, `negligible`, ...); shape (filters,)."""
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
        """Scale parameters (x, y) as standard deviations in pixels; shape (filters, 2). For `dog` the smaller scale.

        NaN where there is no fit, and along an axis of one tap, where no scale can be seen.
        """
        t = self.values.parameters.clone()
        t[:, 1] = torch.where(self._which(lambda family: family.isotropic), t[:, 0], t[:, 1])
        return torch.where(self._one_tap, torch.nan, t.sqrt())

    @cached_property
    def sigma_outer(self) -> Tensor:
        """The larger scale of `dog`, for both axes, NaN for the other families; shape (filters,).

        The smaller one is :attr:`sigma`.
        """
        outer = (self.values.parameters.sum(-1) + GAP).sqrt()
        return torch.where(self._which(lambda family: family.two_scales), outer, torch.nan)

    @cached_property
    def sigma_error(self) -> Tensor:
        """Standard errors of the scales, in pixels; shape (filters, 2).

        From the curvature of the sum of squares at the optimum, for residuals that are independent from tap to tap. NaN
        where :attr:`sigma_status` is not `ok` or `flat`, and for every criterion but l2 and for shared scales.
        """
        return torch.where(self._one_tap, torch.nan, self.values.scale_error)

    @cached_property
    def sigma_status(self) -> np.ndarray:
        """Whether each scale is identifiable, in a word; shape (filters, 2).

        `ok`; `flat`: two standard errors either side span the whole range of the search, or nothing curves upwards;
        `at-zero`, `at-bound`: the optimum lies at an end of the range; empty where there is no fit, or a criterion
        without a curvature.
        """
        words = np.take([*SCALE_STATUSES, ""], self.values.scale_status.cpu().numpy(), mode="wrap")
        blank = self.spec.criterion != "l2" or self.spec.scales == "shared"
        return np.where(self._one_tap.cpu().numpy() | blank, "", words)

    @cached_property
    def alpha(self) -> Tensor:
        """Strength of `sharpen`, NaN for the other families; shape (filters,)."""
        return torch.where(self._which(lambda family: family.has_alpha), self.values.parameters[:, 1], torch.nan)

    @property
    def coefficients(self) -> Tensor:
        """Coefficients of the components of each family, zero beyond the last; shape (filters, components).

        One for an idealized receptive field, its amplitude. For a jet one for each derivative, in the order of the
        components of :data:`scalekeys.FAMILIES`: 1, x, y, xx, xy, yy, ...
        """
        return self.values.coefficients

    @cached_property
    def amplitude(self) -> Tensor:
        """The a of ``a K + b``, NaN for a jet; shape (filters,)."""
        return torch.where(self._which(lambda family: family.is_jet), torch.nan, self.values.coefficients[:, 0])

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
        if spec.criterion != "l2" or spec.normalization != "affine" or spec.scales != "per-axis" or spec.terms:
            return torch.full_like(self.r2, torch.nan)
        family = self.values.family
        numbers = torch.tensor([*map(numbers_of, spec.families), 0], device=family.device)[family]
        taps = self._per_filter(torch.tensor([layer.kernels[0].numel() for layer in self.bank.layers]))
        return evidence(self.r2, numbers, taps.to(family.device))

    @cached_property
    def numbers(self) -> Tensor:
        """How many numbers stand for each filter: scales, coefficients, offset, and which family if several compete.

        Those of a sparse model are two scales, its terms, and which terms they are. Of type int64, shape (filters,);
        0 where there is no fit.
        """
        spec = self.spec
        if spec.terms:
            return torch.where(self.values.family >= 0, spec.terms + 3, 0)
        counts = [
            numbers_of(name) - (spec.scales != "per-axis" and not FAMILIES[name].isotropic) + (len(spec.families) > 1)
            for name in spec.families
        ]
        return torch.tensor([*counts, 0], device=self.values.family.device)[self.values.family]

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
        FilterBank, or Tensor of shape (..., rows, cols) where a tensor was fitted

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
            flat = (coefficients == 0).all(-1)[:, None, None]
            stacks.append(torch.where(flat, offset[:, None, None], model).to(layer.kernels))
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
        return fit_table(self)

    def to_pandas(self) -> "pd.DataFrame":
        """Return :meth:`to_arrow` as a data frame; a missing integer is `<NA>`, a missing family is None or NaN."""
        import pandas as pd

        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper={pa.int32(): pd.Int32Dtype()}.get)
        return frame

    def _which(self, predicate: Callable[[Family], bool]) -> Tensor:
        """Tell for each filter whether its family is such; False where there is no fit."""
        table = torch.tensor([*(predicate(FAMILIES[name]) for name in self.spec.families), False])
        return table.to(self.values.family.device)[self.values.family]

    @cached_property
    def _one_tap(self) -> Tensor:
        """Which axes (x, y) of each filter have one tap, where no scale can be seen."""
        layers = torch.tensor([[layer.size[1] == 1, layer.size[0] == 1] for layer in self.bank.layers])
        return self._per_filter(layers).to(self.values.family.device)

    def _per_filter(self, per_layer: Tensor) -> Tensor:
        counts = torch.tensor([len(layer) for layer in self.bank.layers], dtype=torch.long)
        return per_layer.repeat_interleave(counts, dim=0)


def _shares(norms: Tensor) -> Tensor:
    """Return the share of each filter in the energy of all; filters of any norm."""
    energy = (norms / norms.max()).square()
    return energy / energy.sum()
