"""The patches that a depthwise convolution multiplies: some of them, and their sum with given weights."""

from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from scalekeys.networks.running.running_moments import PatchGeometry


class Patches:
    """The patches of some maps.

    >>> maps = torch.arange(12.0).view(1, 1, 3, 4)
    >>> patches = Patches(maps, PatchGeometry((2, 2), (1, 2), (1, 1), (0, 0, 0, 0)))
    >>> patches.sides
    (2, 2)
    >>> patches.at(torch.tensor([0]), torch.tensor([3])).squeeze()
    tensor([ 6.,  7., 10., 11.])
    """

    def __init__(self, maps: Float[Tensor, "inputs channels *sides"], geometry: PatchGeometry) -> None:
        self._maps = F.pad(maps, geometry.padding) if any(geometry.padding) else maps
        self._geometry = geometry
        self.taps = prod(geometry.kernel)
        axes = zip(self._maps.shape[2:], geometry.kernel, geometry.stride, geometry.dilation, strict=True)
        self.sides = tuple((side - (taps - 1) * reach - 1) // step + 1 for side, taps, step, reach in axes)

    def at(
        self, inputs: Int[Tensor, " patches"], places: Int[Tensor, " patches"]
    ) -> Float[Tensor, "channels taps patches"]:
        """Return patches, at places of the outputs in row-major order."""
        kernel = self._geometry.kernel
        taps = torch.unravel_index(torch.arange(self.taps, device=places.device), kernel)
        index = inputs.expand(self.taps, -1)
        for axis, (place, tap) in enumerate(zip(torch.unravel_index(places, self.sides), taps, strict=True)):
            first = tap[:, None] * self._geometry.dilation[axis]
            index = index * self._maps.shape[axis + 2] + first + place * self._geometry.stride[axis]
        rows = self._maps.transpose(0, 1).flatten(1)
        return rows.index_select(1, index.flatten().to(rows.device)).view(len(rows), *index.shape)

    def weighted_sum(self, weights: Float[Tensor, "inputs filters *sides"]) -> Float[Tensor, "filters *taps"]:
        """Return the weighted sum of all patches of each filter's channel.

        With the gradient of the outputs for weights it is the gradient of the kernels.
        """
        channels, axes = self._maps.shape[1], len(self.sides)
        kernels = weights.new_zeros(weights.shape[1], 1, *self._geometry.kernel)
        none = [0] * axes
        gradient: Tensor = torch.ops.aten.convolution_backward(
            weights, self._maps, kernels, None, self._geometry.stride, none, self._geometry.dilation, False, none,
            channels, [False, True, False],
        )[1]  # fmt: skip
        return gradient[:, 0]
