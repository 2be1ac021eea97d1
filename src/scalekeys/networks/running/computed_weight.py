"""Convolutions of torch whose weights are computed by a part of them, from numbers that are learned."""

from torch import Tensor, nn


class ComputedWeight(nn.Module):
    """A convolution whose weight is what its submodule `kernel` returns; a class before one of torch's convolutions.

    So it is read, replaced and run like any convolution, and its weight is never out of date.
    """

    is_separable: bool = False
    """Whether it is executed along one axis after the other."""

    kernel: nn.Module
    like: Tensor  # a buffer without values, of the type that the weight has

    @property
    def weight(self) -> Tensor:
        """The present weight of the convolution; computed, with a history for gradients."""
        weight: Tensor = self.kernel()
        return weight.to(self.like.dtype)

    def stop_computing(self) -> None:
        """Turn into the convolution of torch that it is derived from; the caller sets its weight."""
        self.__class__ = next(one for one in type(self).__mro__ if one.__module__ == nn.Conv2d.__module__)
        del self.kernel, self.like
