"""Replacement: the filters that replace others, by models of any kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.bank import FilterBank
from scalekeys.filters.choice import wanted_layers
from scalekeys.filters.correspondence import corresponding_part, corresponding_parts
from scalekeys.shapes import FilterStack, over_taps

if TYPE_CHECKING:
    import pandas as pd

KEEP = "keep"
"""The model of a filter that stays as it is."""


@runtime_checkable
class Modelled(Protocol):
    """Filters with a model of each, as a fit or an assignment to keys gives them."""

    @property
    def bank(self) -> FilterBank:
        """The filters that are modelled."""

    @property
    def family(self) -> np.ndarray:
        """What each filter is modelled by, or an empty string where there is no model; shape (filters,)."""

    @property
    def numbers(self) -> Int[Tensor, "filters"]:
        """How many numbers describe each filter; shape (filters,)."""

    @property
    def r2(self) -> Tensor:
        """Share of the energy of the centred filter that its model explains; shape (filters,)."""

    def kernels(self) -> FilterBank | Tensor:
        """Return the modelled filters."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """The filters that replace the filters of a bank.

    Parameters
    ----------
    bank : FilterBank
        The filters as they are.
    filters : FilterBank
        The new filters, in the same layers; a filter that is kept is unchanged.
    model : array of str, shape (filters,)
        The model of each filter: a family, a key, ``"constant"`` for a filter without variation, or ``"keep"``, as for
        a negligible filter.
    numbers : Tensor of int64, shape (filters,)
        How many numbers describe each filter; the number of taps for a filter that is kept.
    r2 : Tensor, shape (filters,)
        Share of the energy of the centred filter that takes its place; 1 where it is kept.
    """

    bank: FilterBank
    filters: FilterBank
    model: np.ndarray
    numbers: Int[Tensor, "filters"]
    r2: Tensor

    def __repr__(self) -> str:
        return (
            f"Replacement({int(self.replaced.sum())} of {len(self.bank)} filters, {int(self.numbers.sum())} numbers "
            f"for {int(taps_of(self.bank).sum())} taps)"
        )

    @property
    def replaced(self) -> Bool[Tensor, "filters"]:
        """Which filters are replaced; shape (filters,)."""
        return torch.from_numpy(self.model != KEEP)

    @property
    def family(self) -> np.ndarray:
        """The same as :attr:`model`, by the name that it has in a fit."""
        return self.model

    def kernels(self) -> FilterBank:
        """Return what takes the place of the filters."""
        return self.filters

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a model: `model`, `filters`, `median_r2`, `numbers` and `taps` (before).

        Examples
        --------
        >>> import scalekeys as sk
        >>> replacement(sk.fit(sk.master_keys(), "jet2")).to_pandas().to_dict("list")
        {'model': ['jet2'], 'filters': [8], 'median_r2': [0.98...], 'numbers': [72], 'taps': [392]}
        """
        import pandas as pd

        frame = pd.DataFrame(
            {
                "model": self.model,
                "r2": self.r2.detach().cpu().numpy(),
                "numbers": self.numbers.cpu().numpy(),
                "taps": taps_of(self.bank).numpy(),
            }
        )
        grouped = frame.groupby("model").agg(
            filters=("r2", "size"), median_r2=("r2", "median"), numbers=("numbers", "sum"), taps=("taps", "sum")
        )
        return grouped.sort_values("filters", ascending=False, kind="stable").reset_index()


def replacement(
    modelled: Modelled,
    *,
    layers: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    min_r2: float | None = None,
    into: FilterBank | None = None,
) -> Replacement:
    """Decide which filters are replaced by their models.

    Parameters
    ----------
    modelled : Modelled
        A fit, an assignment to keys, or another replacement.
    layers : sequence of str, optional
        Replace filters only in the layers of these names, in which ``*`` matches anything; by default in all layers.
    keep : sequence of str, optional
        Replace no filters in the layers of these names.
    min_r2 : float, optional
        Only filters of whose energy the model explains at least this share; by default all that have a model.
    into : FilterBank, optional
        The filters of another network, which the models of these filters replace: layer by layer by name, and channel
        by channel. `layers` and `keep` then name the layers of the other network. All names of one network may have an
        additional prefix; where the prefix marks a part of this network, such as the encoder of an autoencoder, the
        layers of other parts stay as they are unless `layers` names them. A filter whose counterpart has no model stays
        as it is.

    Returns
    -------
    Replacement

    Raises
    ------
    FilterError
        If no layer has such a name, or all that have are kept, or the threshold is no number up to 1, or a layer of the
        other network has no counterpart of the same shape.

    References
    ----------
    In the experiments of Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, the filters of a supervised network choose
    the filters of a self-supervised one.

    Examples
    --------
    >>> import scalekeys as sk
    >>> replacement(sk.assign_keys(sk.master_keys()), min_r2=0.9)
    Replacement(8 of 8 filters, 24 numbers for 392 taps)
    >>> other = FilterBank.from_tensor(torch.randn(8, 7, 7))
    >>> replacement(sk.assign_keys(sk.master_keys()), into=other).bank is other
    True
    """
    if min_r2 is not None and not min_r2 <= 1:
        raise FilterError(f"min_r2 is a share of energy and at most 1, got {min_r2}")
    if into is not None:
        wanted = wanted_layers(into, layers, keep)
        if layers is None:
            wanted = [one and here for one, here in zip(wanted, _in_common(into, modelled.bank), strict=True)]
        return _transferred(replacement(modelled, min_r2=min_r2), into, wanted)
    bank, models = modelled.bank, modelled.kernels()
    if isinstance(models, Tensor):
        models = bank.with_filters([models.reshape(bank.layers[0].kernels.shape)])
    wanted = wanted_layers(bank, layers, keep)
    taken = torch.cat([torch.full((len(layer),), mine) for layer, mine in zip(bank, wanted, strict=True)])
    finite = torch.cat([layer.kernels.flatten(1).isfinite().all(-1).cpu() for layer in models])
    r2 = modelled.r2.detach().double().cpu()
    flat = torch.cat([_is_constant(layer.kernels).cpu() for layer in bank])
    taken &= finite & ~bank.negligible
    taken &= torch.from_numpy((modelled.family != "") & (modelled.family != KEEP)) | flat
    if min_r2 is not None:
        taken &= (r2 >= min_r2) | flat
    stacks = []
    for (layer, part), model in zip(bank.parts(), models, strict=True):
        mine = over_taps(taken[part], layer.axes).to(layer.kernels.device)
        stacks.append(torch.where(mine, model.kernels.to(layer.kernels), layer.kernels))
    label = np.where(taken.numpy(), np.where(flat.numpy(), "constant", modelled.family), KEEP)
    numbers = torch.where(flat, 1, modelled.numbers.cpu())
    return Replacement(
        bank=bank,
        filters=bank.with_filters(stacks),
        model=label,
        numbers=torch.where(taken, numbers, taps_of(bank)),
        r2=torch.where(taken & ~flat, r2, 1.0),
    )


def _transferred(chosen: Replacement, bank: FilterBank, wanted: Sequence[bool]) -> Replacement:
    """Put what takes the place of the filters of one network in the place of those of another."""
    taps = taps_of(bank)
    stacks = [layer.kernels.clone() for layer in bank]
    model, numbers, r2 = np.full(len(bank), KEEP, dtype=object), taps.clone(), torch.ones(len(bank)).double()
    start = {part.start: layer.kernels for layer, part in chosen.filters.parts()}
    parts = corresponding_parts(bank, chosen.bank, wanted)
    for (_, mine), theirs, stack in zip(bank.parts(), parts, stacks, strict=True):
        if theirs is not None:
            rows = chosen.replaced[theirs]
            stack[rows.to(stack.device)] = start[theirs.start][rows].to(stack)
            model[mine] = chosen.model[theirs]
            numbers[mine] = torch.where(rows, chosen.numbers[theirs], taps[mine])
            r2[mine] = chosen.r2[theirs].to(r2)
    return Replacement(bank, bank.with_filters(stacks), model.astype(str), numbers, r2)


def _in_common(bank: FilterBank, other: FilterBank) -> list[bool]:
    """Return for each layer whether it is in the part of the network that another network is."""
    names = [layer.name for layer in bank]
    part = corresponding_part(names, [layer.name for layer in other])
    return [name.startswith(part) for name in names]


def taps_of(bank: FilterBank) -> Int[Tensor, "filters"]:
    """Return the number of taps of each filter."""
    return torch.cat([torch.full((len(layer),), prod(layer.size)) for layer in bank])


def _is_constant(filters: FilterStack) -> Bool[Tensor, "filters"]:
    flat = filters.flatten(1)
    return flat.amax(-1) == flat.amin(-1)
