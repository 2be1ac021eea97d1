"""Filters by the keys that they are copies of, up to a factor and an offset: the paper's rule of replacement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.bank import FilterBank
from scalekeys.filters.keys import MASTER_KEY_FAMILIES, master_keys
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.filters.window import in_window
from scalekeys.shapes import SIDES, ArrayLike, FilterStack, Size, as_float_tensor, axes_text, over_taps, size_text
from scalekeys.threads import one_thread

_NUMBERS = 3  # a factor, an offset and which key
_NO_KEY = 1e-9  # norm below which nothing of a key of norm 1 is left in a window


@dataclass(frozen=True, eq=False)
class KeyAssignment:
    """The key of each filter of a bank, with the factor and the offset with which the key is closest to the filter.

    Parameters
    ----------
    bank : FilterBank
        The filters.
    keys : Tensor, shape (keys, *sides), float64
    names : tuple of str
        Names of the keys.
    index : Tensor of int64, shape (filters,)
        The key of each filter; -1 where the filter is negligible, constant or not finite, has another number of axes
        than the keys, or is of a size to which no key can be cut.
    amplitude, offset : Tensor, shape (filters,)
        Of the centred key of norm 1; NaN where there is no key.
    r2 : Tensor, shape (filters,)
        Share of the energy of the centred filter that its key explains: the square of their correlation.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026: the rule by which the filters of a network are replaced.
    """

    bank: FilterBank
    keys: Float[Tensor, "keys *sides"]
    names: tuple[str, ...]
    index: Int[Tensor, "filters"]
    amplitude: Float[Tensor, "filters"]
    offset: Float[Tensor, "filters"]
    r2: Float[Tensor, "filters"]

    def __repr__(self) -> str:
        return f"KeyAssignment({int((self.index >= 0).sum())} of {len(self.bank)} filters to {len(self.keys)} keys)"

    @property
    def family(self) -> np.ndarray:
        """Name of the key of each filter, or an empty string; shape (filters,)."""
        return np.take([*self.names, ""], self.index.numpy(), mode="wrap")

    @property
    def numbers(self) -> Int[Tensor, "filters"]:
        """How many numbers describe each filter: factor, offset and the choice of the key; shape (filters,)."""
        return torch.full((len(self.bank),), _NUMBERS)

    def kernels(self) -> FilterBank:
        """Return each filter's key with its factor and offset; NaN where it has none, unless it is constant."""
        stacks = []
        for layer, mine in self.bank.parts():
            keys = torch.cat([unit_keys(self.keys, layer.size)[0], torch.zeros(1, *layer.size, dtype=torch.float64)])
            amplitude = torch.where(self.index[mine] < 0, 0.0, self.amplitude[mine])
            model = over_taps(amplitude, layer.axes) * keys[self.index[mine]] + over_taps(self.offset[mine], layer.axes)
            stacks.append(model.to(layer.kernels))
        return self.bank.with_filters(stacks)


def assign_keys(
    filters: FilterBank | ArrayLike,
    keys: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    axes: int = 2,
) -> KeyAssignment:
    r"""Assign to each filter the key that, with a factor and an offset, comes closest to it.

    Parameters
    ----------
    filters : FilterBank, or Tensor or array of shape (..., *sides)
        The filters of a bank that have another number of axes than the keys get no key.
    keys : Tensor or array, shape (keys, *sides), optional
        By default the eight published keys, which have two axes. Keys are cropped around their centre to smaller
        filters, and surrounded with zeros for larger ones.
    names : sequence of str, optional
        One a key; by default ``key 1`` and so on, and for the published ones their families.
    axes : int
        How many axes a key has, and a filter of an array: 1, 2 or 3.

    Returns
    -------
    KeyAssignment

    Raises
    ------
    FilterError
        If the keys are no stack of finite filters with so many axes, there are not as many names, or no kernel of the
        bank has as many axes.

    Notes
    -----
    For a filter y and the centred keys u of norm 1 the model is :math:`\langle y, u \rangle u + \bar y`, of the key
    with the largest :math:`|\langle y, u \rangle|`.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026.

    Examples
    --------
    >>> assigned = assign_keys(-2 * master_keys()[4:6] + 1)
    >>> print(*assigned.family, assigned.amplitude, assigned.offset)
    dx dy tensor([-2.0000, -2.0000], dtype=torch.float64) tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    bank = _bank_for(filters, axes)
    values = _checked_keys(master_keys() if keys is None else keys, axes)
    if names is None:
        names = MASTER_KEY_FAMILIES if keys is None else [f"key {number}" for number in range(1, len(values) + 1)]
    if len(names) != len(values):
        raise FilterError(f"got {len(names)} names for {len(values)} keys")
    with one_thread():
        parts = [_assign(layer.kernels, values) for layer in bank]
    index, amplitude, offset, r2 = (torch.cat(columns) for columns in zip(*parts, strict=True))
    none = bank.negligible
    index, amplitude, r2 = (
        column.masked_fill(none, blank) for column, blank in ((index, -1), (amplitude, torch.nan), (r2, torch.nan))
    )
    return KeyAssignment(bank, values, tuple(names), index, amplitude, offset, r2)


def _bank_for(filters: FilterBank | ArrayLike, axes: int) -> FilterBank:
    """Return a bank some of whose kernels have as many axes as the keys."""
    if not isinstance(filters, FilterBank):
        return FilterBank.from_tensor(as_float_tensor(filters).detach(), axes=axes)
    if filters.layers and all(layer.axes != axes for layer in filters):
        sizes = ", ".join(map(size_text, filters.sizes))
        raise FilterError(f"{filters.model}: no kernel has {axes_text(axes)}, as the keys have; the sizes are {sizes}")
    return filters


def _checked_keys(keys: ArrayLike, axes: int) -> FilterStack:
    values = as_float_tensor(keys).detach().double().cpu()
    if values.ndim != axes + 1 or not len(values) or not bool(values.isfinite().all()):
        shape = f"(keys, {', '.join(SIDES[-axes:])})"
        raise FilterError(f"keys of {axes_text(axes)} must be finite, of shape {shape}, got {tuple(values.shape)}")
    return values


def _assign(filters: FilterStack, keys: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return key, amplitude, offset and r2 of each filter of a layer."""
    scaled, exponent = in_powers_of_two(filters.detach().cpu(), axes=filters.ndim - 1)
    flat, magnitude = scaled.flatten(1), power_of_two(exponent)
    finite = flat.isfinite().all(-1)
    offset = flat.mean(-1)
    centred = flat - offset[:, None]
    energy = centred.square().sum(-1)
    unit, usable = unit_keys(keys, tuple(filters.shape[1:]))
    products = centred.nan_to_num(0.0, 0.0, 0.0) @ unit.flatten(1).T
    index = products.abs().argmax(-1)
    amplitude = products.gather(1, index[:, None])[:, 0]
    none = ~finite | (flat.amax(-1) == flat.amin(-1)) | ~usable.any()
    nan = torch.full_like(offset, torch.nan)
    return (
        torch.where(none, -1, index),
        torch.where(none, nan, amplitude * magnitude),
        torch.where(finite & usable.any(), offset * magnitude, nan),
        torch.where(none, nan, amplitude.square() / energy),
    )


def unit_keys(keys: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Return keys in a window, centred and of norm 1, and of which anything is left there; the others are zero."""
    if len(size) != keys.ndim - 1:
        return keys.new_zeros(len(keys), *size), torch.zeros(len(keys), dtype=torch.bool)
    inside = in_window(keys, size).flatten(1)
    centred = inside - inside.mean(-1, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    usable = norm > _NO_KEY
    return torch.where(usable, centred / norm, 0.0).reshape(-1, *size), usable[:, 0]
