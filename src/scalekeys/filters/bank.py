"""FilterBank: the depthwise filters of one network, layer by layer, without the network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.dead import negligible_filters
from scalekeys.shapes import FilterStack, as_float_tensor


@dataclass(frozen=True, eq=False)
class LayerFilters:
    """The filters of one depthwise layer.

    Parameters
    ----------
    name : str
        Name of the layer in its network, without the trailing ``.weight``.
    kernels : Tensor, shape (channels, rows, cols)
        One filter per output channel, float32 or float64. Rows run down, columns run right.
    stride, dilation : int or None
        Taken from the graph; None where the source holds weights only.
    depth : int
        Position among the depthwise layers of the network, from 0 at the input.
    floor : float or None
        The binary logarithm of the norm below which a filter of this layer is negligible, where it is known from the
        whole network (:func:`scalekeys.filters.dead.floors`); by default the bank of the layer decides.
    """

    name: str
    kernels: FilterStack
    stride: int | None = None
    dilation: int | None = None
    depth: int = 0
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.kernels.ndim != 3:
            raise FilterError(
                f"layer {self.name!r}: filters must have shape (channels, rows, cols), got {tuple(self.kernels.shape)}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the kernel."""
        return self.kernels.shape[1], self.kernels.shape[2]

    def __len__(self) -> int:
        return self.kernels.shape[0]


@dataclass(frozen=True)
class LeftOut:
    """What has the shape of a kernel in a source, or is a convolution, and is not read.

    Parameters
    ----------
    name : str
        Name of the tensor, or of the node of a graph.
    shape : tuple of int
        Of its weight; empty where that is not known.
    reason : str
        Why it is not read, in a clause.
    """

    name: str
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True, eq=False)
class FilterBank:
    """The depthwise filters of one network, in the order of its layers.

    Parameters
    ----------
    layers : tuple of LayerFilters
        Ordered from input to output.
    model : str
        What the network is called in tables.
    notes : tuple of str
        What a reader decided on the way, in sentences a user should see (which nested weights were picked, ...).
    left_out : tuple of LeftOut
        What the source holds that has the shape of a kernel, or is a convolution, and is not read.

    Examples
    --------
    >>> import torch
    >>> bank = FilterBank.from_tensor(torch.randn(5, 7, 7), model="noise")
    >>> bank
    FilterBank('noise': 5 filters in 1 layer, 7x7)
    """

    layers: tuple[LayerFilters, ...]
    model: str = "filters"
    notes: tuple[str, ...] = field(default=())
    left_out: tuple[LeftOut, ...] = field(default=())

    @classmethod
    def from_tensor(cls, filters: Tensor, *, model: str = "filters", layer: str = "filters") -> "FilterBank":
        """Wrap filters of shape (..., rows, cols) as a bank of one layer.

        Raises
        ------
        FilterError
            If there are fewer than two axes.
        """
        values = as_float_tensor(filters)
        if values.ndim < 2:
            raise FilterError(f"filters must have shape (..., rows, cols), got {tuple(values.shape)}")
        return cls((LayerFilters(layer, values.reshape(-1, *values.shape[-2:])),), model=model)

    def __len__(self) -> int:
        return sum(len(layer) for layer in self.layers)

    def __iter__(self) -> Iterator[LayerFilters]:
        return iter(self.layers)

    def __repr__(self) -> str:
        filters, layers = _counted(len(self), "filter"), _counted(len(self.layers), "layer")
        return f"FilterBank({self.model!r}: {', '.join([f'{filters} in {layers}', *map(_by, self.sizes)])})"

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The kernel sizes that occur, as (rows, cols), largest first."""
        return tuple(sorted({layer.size for layer in self.layers}, reverse=True))

    @cached_property
    def negligible(self) -> Bool[Tensor, "filters"]:
        """Which filters are not zero, but negligible beside the others of the network; shape (filters,).

        :mod:`scalekeys.filters.dead` says when.

        Examples
        --------
        >>> filters = torch.ones(5, 3, 3)
        >>> filters[2] *= 1e-9
        >>> FilterBank.from_tensor(filters).negligible
        tensor([False, False,  True, False, False])
        """
        return negligible_filters(self.layers)

    def of_size(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Stack the filters of one kernel size.

        Returns
        -------
        filters : Tensor, shape (filters, rows, cols)
        positions : Tensor of int64, shape (filters,)
            Where each filter stands in the bank.

        Raises
        ------
        FilterError
            If no layer has this size.
        """
        if size not in self.sizes:
            sizes = ", ".join(map(_by, self.sizes)) or "none"
            raise FilterError(f"{self.model}: no layer has kernels of {_by(size)}; the sizes are {sizes}")
        stacks, positions = [], []
        for layer, part in self.parts():
            if layer.size == size:
                stacks.append(layer.kernels)
                positions.append(torch.arange(part.start, part.stop))
        return torch.cat(stacks), torch.cat(positions)

    def parts(self) -> Iterator[tuple[LayerFilters, slice]]:
        """Yield each layer with where its filters are in what has one value a filter.

        Examples
        --------
        >>> bank = FilterBank((LayerFilters("a", torch.ones(2, 3, 3)), LayerFilters("b", torch.ones(3, 3, 3))))
        >>> [part for _, part in bank.parts()]
        [slice(0, 2, None), slice(2, 5, None)]
        """
        start = 0
        for layer in self.layers:
            yield layer, slice(start, start + len(layer))
            start += len(layer)

    def with_filters(self, filters: Sequence[Tensor]) -> "FilterBank":
        """Return a bank of the same layers that holds other filters, one stack per layer.

        Raises
        ------
        FilterError
            If there is not one stack for each layer.
        """
        if len(filters) != len(self.layers):
            raise FilterError(f"{self.model}: got {len(filters)} stacks of filters for {len(self.layers)} layers")
        layers = tuple(replace(layer, kernels=new) for layer, new in zip(self.layers, filters, strict=True))
        return replace(self, layers=layers)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
