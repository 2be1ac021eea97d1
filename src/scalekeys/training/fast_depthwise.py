"""Derivatives of depthwise convolutions on a CPU, by forward convolutions, which oneDNN has fast code for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LARGE = 5  # side from which a kernel gains; those of 3 x 3 have fast code of their own


class FastDepthwise(TorchFunctionMode):
    """Within it, gradients of depthwise convolutions with large kernels are computed several times faster on a CPU.

    Applies to kernels with a side of 5 or more, one for each channel, with stride 1, dilation 1 and zero padding (an
    integer or two); everything else is as without it. Filters that are frozen cost no gradient of their own, even where
    their biases are learned. Gradients agree up to rounding. ``benchmarks/fast_depthwise.py`` measures what is gained.

    Examples
    --------
    >>> layer, images = torch.nn.Conv2d(4, 4, 7, padding=3, groups=4), torch.ones(2, 4, 8, 8)
    >>> with FastDepthwise():
    ...     layer(images).sum().backward()
    >>> layer.weight.grad[0, 0, 3]  # each column of the kernel sees so many pixels of two images
    tensor([ 80.,  96., 112., 128., 112.,  96.,  80.])
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take the place of convolutions that can be done faster."""
        if func is torch.conv2d and torch.is_grad_enabled():
            convolution = _Convolution(*args, **kwargs or {})
            if convolution.gains:
                return convolution.result()
        return func(*args, **kwargs or {})


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A call of ``torch.conv2d``, whose names of arguments these are."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: int | Sequence[int] = 1
    padding: int | Sequence[int] | str = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1

    @property
    def gains(self) -> bool:
        """Whether it is one of those that are faster."""
        if self.input.device.type != "cpu" or self.input.ndim != 4 or isinstance(self.padding, str):
            return False
        return (
            self.groups == self.input.shape[1] == len(self.weight)
            and max(self.weight.shape[-2:]) >= _LARGE
            and _pair(self.stride) == _pair(self.dilation) == (1, 1)
            and all(around < side for around, side in zip(_pair(self.padding), self.weight.shape[-2:], strict=True))
        )

    def result(self) -> Tensor:
        """Convolve, in the precision that autocast asks for."""
        tensors: tuple[Tensor | None, ...] = (self.input, self.weight, self.bias)
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            tensors = tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _Depthwise.apply(*tensors, _pair(self.padding))  # type: ignore[no-untyped-call]
        return result


def _pair(value: int | Sequence[Any]) -> tuple[int, int]:
    """Return two numbers of what convolutions take as one or two."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return (numbers[0], numbers[-1])


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return F.conv2d(images, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _of_images(gradient, weight, ctx.padding) if wanted[0] else None,
            _of_weight(gradient, images, ctx.padding).to(weight.dtype) if wanted[1] else None,
            gradient.sum((0, 2, 3)) if wanted[2] else None,
            None,
        )


def _of_images(gradient: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Convolve with the turned kernels, so far out that the size is that of the images."""
    rows, cols = weight.shape[-2:]
    around = (rows - 1 - padding[0], cols - 1 - padding[1])
    return F.conv2d(gradient, weight.flip(-2, -1), padding=around, groups=len(weight))


def _of_weight(gradient: Tensor, images: Tensor, padding: tuple[int, int]) -> Tensor:
    """Correlate each channel of each image with its own gradient, as a channel of one wide image; add over images."""
    batch, channels, rows, cols = images.shape
    wide = images.permute(2, 3, 0, 1).reshape(1, rows, cols, batch * channels).permute(0, 3, 1, 2)
    kernels = gradient.reshape(batch * channels, 1, *gradient.shape[2:])
    correlated = F.conv2d(wide, kernels, padding=padding, groups=batch * channels)
    return correlated.view(batch, channels, *correlated.shape[-2:]).sum(0, dtype=_wide(images.dtype)).unsqueeze(1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which to add up."""
    return dtype if dtype == torch.float64 else torch.float32
