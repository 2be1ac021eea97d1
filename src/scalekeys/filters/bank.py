"""FilterBank: the filters of one network, layer by layer, without the network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from scalekeys.errors import FilterError, counted
from scalekeys.filters.dead import negligible_filters
from scalekeys.shapes import ArrayLike, FilterStack, Size, checked_filters, size_text


@dataclass(frozen=True, eq=False)
class LayerFilters:
    """The filters of one convolution.

    Parameters
    ----------
    name : str
        Name of the layer in its network, without the trailing ``.weight``.
    kernels : Tensor, shape (channels, *sides)
        One filter per output channel of a depthwise layer, and one for each pair of an output and an input of its group
        in other convolutions; float32 or float64. The sides are one, two or three: (cols,), (rows, cols) or (slices,
        rows, cols). Rows run down, columns run right.
    stride, dilation : int or None
        Taken from the graph; None where the source holds weights only.
    depth : int
        Position among the layers that are read, from 0 at the input.
    floor : float or None
        The binary logarithm of the norm below which a filter of this layer is negligible, where it is known from the
        whole network (:func:`scalekeys.filters.dead.floors`); by default the bank of the layer decides.
    kind : str
        ``"depthwise"``, ``"grouped"`` or ``"ordinary"``.
    channels : pair of int, optional
        Outputs, and inputs of a group, of a convolution that is not depthwise: ``kernels.unflatten(0, channels)`` is
        its weight, of shape (outputs, inputs of a group, *sides). None for depthwise layers. A part of the filters of a
        layer has those of the whole.
    pitch : tuple of float, optional
        Distance between the samples of the input of the layer, in samples (pixels) of the input of the network, one
        number for each side: the product of all strides on the way from the input, divided by all upsampling.
        ``sigma * pitch * dilation`` is a scale in pixels of the input. None where it is not known, as in sources that
        hold weights only, or not the same wherever the layer is used.

    Raises
    ------
    FilterError
        If the filters have no axis or more than three.

    Examples
    --------
    >>> import torch
    >>> LayerFilters("conv", torch.zeros(6, 3, 5), kind="ordinary", channels=(2, 3)).size
    (3, 5)
    """

    name: str
    kernels: FilterStack
    stride: int | None = None
    dilation: int | None = None
    depth: int = 0
    floor: float | None = None
    kind: str = "depthwise"
    channels: tuple[int, int] | None = None
    pitch: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.kernels.ndim <= 4:
            raise FilterError(
                f"layer {self.name!r}: filters must have shape (channels, *sides) with one to three sides, got "
                f"{tuple(self.kernels.shape)}"
            )

    @property
    def size(self) -> Size:
        """Sides of the kernel in the order of the array: (cols,), (rows, cols) or (slices, rows, cols)."""
        return tuple(self.kernels.shape[1:])

    @property
    def axes(self) -> int:
        """How many axes the kernel has: 1, 2 or 3."""
        return self.kernels.ndim - 1

    @property
    def mean_pitch(self) -> float | None:
        """The geometric mean of the pitch over the axes; None where it is not known.

        Examples
        --------
        >>> LayerFilters("dw", torch.zeros(6, 3, 3), pitch=(8.0, 2.0)).mean_pitch
        4.0
        """
        return None if self.pitch is None else prod(self.pitch) ** (1 / len(self.pitch))

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
    """The filters of one network, in the order of its layers.

    Parameters
    ----------
    layers : tuple of LayerFilters
        Ordered from input to output; their kernels may differ in size, and in the number of axes.
    model : str
        Name of the network in tables.
    notes : tuple of str
        Decisions of the reader that a user should see, in sentences (which nested weights were chosen, ...).
    left_out : tuple of LeftOut
        What the source holds that has the shape of a kernel, or is a convolution, and is not read.

    Examples
    --------
    >>> import torch
    >>> bank = FilterBank.from_tensor(torch.randn(5, 7, 7), model="noise")
    >>> bank
    FilterBank('noise': 5 filters in 1 layer, 7x7)
    >>> FilterBank((*bank, LayerFilters("causal", torch.randn(26, 5))), model="mixed")
    FilterBank('mixed': 31 filters in 2 layers, 7x7, 5)
    """

    layers: tuple[LayerFilters, ...]
    model: str = "filters"
    notes: tuple[str, ...] = field(default=())
    left_out: tuple[LeftOut, ...] = field(default=())

    @classmethod
    def from_tensor(
        cls, filters: ArrayLike, *, axes: int = 2, model: str = "filters", layer: str = "filters"
    ) -> "FilterBank":
        """Wrap an array of filters as a bank of one layer.

        Parameters
        ----------
        filters : Tensor or array, shape (..., *sides)
            The last `axes` dimensions are the kernel, and those before it are the batch.
        axes : int
            How many axes a kernel has: 1, 2 or 3.
        model, layer : str
            Names of the network and of its layer.

        Raises
        ------
        FilterError
            If a kernel cannot have so many axes, or the array has fewer.

        Examples
        --------
        >>> FilterBank.from_tensor(torch.randn(10, 5), axes=1)
        FilterBank('filters': 10 filters in 1 layer, 5)
        """
        values = checked_filters(filters, axes)
        return cls((LayerFilters(layer, values.reshape(-1, *values.shape[-axes:])),), model=model)

    def __len__(self) -> int:
        return sum(len(layer) for layer in self.layers)

    def __iter__(self) -> Iterator[LayerFilters]:
        return iter(self.layers)

    def __repr__(self) -> str:
        filters, layers = counted(len(self), "filter"), counted(len(self.layers), "layer")
        return f"FilterBank({self.model!r}: {', '.join([f'{filters} in {layers}', *map(size_text, self.sizes)])})"

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The kernel sizes that occur, largest first; kernels of more axes come before those of fewer."""
        return tuple(sorted({layer.size for layer in self.layers}, key=lambda size: (len(size), size), reverse=True))

    @property
    def axes(self) -> int:
        """The largest number of axes of a kernel; 0 for a bank without layers."""
        return max((layer.axes for layer in self.layers), default=0)

    @cached_property
    def layer_of(self) -> Int[np.ndarray, "filters"]:
        """The position of the layer of each filter; shape (filters,).

        Examples
        --------
        >>> FilterBank((LayerFilters("a", torch.ones(2, 3, 3)), LayerFilters("b", torch.ones(3, 3, 3)))).layer_of
        array([0, 0, 1, 1, 1])
        """
        return np.repeat(np.arange(len(self.layers)), [len(layer) for layer in self.layers])

    @cached_property
    def negligible(self) -> Bool[Tensor, "filters"]:
        """Which filters are not zero, but negligible compared with the others of the network; shape (filters,).

        :mod:`scalekeys.filters.dead` says when.

        Examples
        --------
        >>> filters = torch.ones(5, 3, 3)
        >>> filters[2] *= 1e-9
        >>> FilterBank.from_tensor(filters).negligible
        tensor([False, False,  True, False, False])
        """
        return negligible_filters(self.layers)

    def of_size(self, size: Size) -> tuple[Tensor, Tensor]:
        """Stack the filters of one kernel size.

        Parameters
        ----------
        size : tuple of int
            The sides in the order of the array, as in :attr:`sizes`.

        Returns
        -------
        filters : Tensor, shape (filters, *sides)
        positions : Tensor of int64, shape (filters,)
            The position of each filter in the bank.

        Raises
        ------
        FilterError
            If no layer has this size.
        """
        if size not in self.sizes:
            sizes = ", ".join(map(size_text, self.sizes)) or "none"
            raise FilterError(f"{self.model}: no layer has kernels of {size_text(size)}; the sizes are {sizes}")
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
