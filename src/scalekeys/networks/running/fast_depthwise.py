"""Derivatives of depthwise convolutions on a CPU, by forward convolutions, which oneDNN has fast code for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LARGE = 5  # side from which a kernel gains; those of 3 x 3 have fast code of their own
_DTYPES = (torch.float32, torch.bfloat16, torch.float64)  # the last gains nothing, but checks derivatives


class FastDepthwise(TorchFunctionMode):
    """Within it, gradients of depthwise convolutions with large kernels are computed up to several times faster.

    Applies on a CPU, to float32 and bfloat16 (float64 is as fast as without), and to kernels with a side of 5 or more,
    one for each channel, with stride 1, dilation 1 and a padding in numbers; everything else is as without it. Filters
    that are frozen cost no gradient of their own, even where their biases are learned. Gradients agree up to rounding,
    and can be differentiated in turn; ``torch.vmap`` and forward-mode derivatives are not supported.
    ``benchmarks/fast_depthwise.py`` measures what is gained.

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


def convolution(*args: Any, **kwargs: Any) -> Tensor:
    """Call ``torch.conv2d``, or what takes its place within :class:`FastDepthwise` where that is faster.

    A compiler or an exporter is left to choose by itself.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        found = _Convolution(*args, **kwargs)
        if found.gains:
            return found.result()
    return torch.conv2d(*args, **kwargs)


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
        padding, sides = _pair(self.padding), tuple(self.weight.shape[-2:])
        return (
            torch.backends.mkldnn.is_available()
            and bool(torch.backends.mkldnn.enabled)
            and self.input.device.type == "cpu"
            and self.input.dtype in _DTYPES
            and self.input.ndim == 4
            and len(self.input) > 0
            and self.groups == self.input.shape[1] == len(self.weight)
            and max(sides) >= _LARGE
            and _pair(self.stride) == _pair(self.dilation) == (1, 1)
            and padding is not None
            and padding[0] < sides[0]
            and padding[1] < sides[1]
        )

    def result(self) -> Tensor:
        """Convolve, in the precision that autocast asks for."""
        tensors: tuple[Tensor | None, ...] = (self.input, self.weight, self.bias)
        if torch.is_autocast_enabled("cpu") and self.input.dtype != torch.float64:
            dtype = torch.get_autocast_dtype("cpu")
            tensors = tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _Depthwise.apply(*tensors, _pair(self.padding))  # type: ignore[no-untyped-call]
        return result


def _pair(value: int | Sequence[int] | str) -> tuple[int, int] | None:
    """Return the two numbers of what convolutions take as one or two; None if it is something else."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, str) or len(value) not in (1, 2):
        return None
    return value[0], value[-1]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        return F.conv2d(images, weight, bias, padding=padding, groups=len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        images, weight, _, ctx.padding = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            return (
                _of_images(gradient, weight, ctx.padding) if wanted[0] else None,
                _of_weight(gradient, images, weight, ctx.padding) if wanted[1] else None,
                gradient.sum((0, 2, 3)) if wanted[2] else None,
                None,
            )


def _of_images(gradient: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Convolve with the turned kernels, so far out that the size is that of the images."""
    rows, cols = weight.shape[-2:]
    around = (rows - 1 - padding[0], cols - 1 - padding[1])
    return F.conv2d(gradient, weight.flip(-2, -1), padding=around, groups=len(weight))


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return the gradient of kernels, in memory as the weight is, which reducers of several processes expect."""
    rows, cols = weight.shape[-2:]
    if min(rows, cols) > 1:
        found = _by_one_wide_image(gradient, images, weight, padding)
    elif cols == 1:
        found = _of_columns(gradient, images, rows, padding[0])
    else:
        found = _of_columns(gradient.mT, images.mT, cols, padding[1])
    return torch.empty_like(weight).copy_(found.view(weight.shape))


def _by_one_wide_image(gradient: Tensor, images: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Correlate each channel of each image with its own gradient, as a channel of one wide image; add over images."""
    batch, channels, rows, cols = images.shape
    wide = images.permute(2, 3, 0, 1).reshape(1, rows, cols, batch * channels).permute(0, 3, 1, 2)
    kernels = gradient.reshape(batch * channels, 1, *gradient.shape[2:])
    correlated = F.conv2d(wide, kernels, padding=padding, groups=batch * channels)
    return correlated.view(batch, *weight.shape).sum(0, dtype=torch.promote_types(images.dtype, torch.float32))


def _of_columns(gradient: Tensor, images: Tensor, taps: int, padding: int) -> Tensor:
    """Return the gradient of kernels of one column: the one that oneDNN has fast code for, if images are as long.

    Otherwise each tap is the sum of a diagonal of a matrix for each channel, the product of gradient and images over
    all columns of all images: entry (i, j) is what a tap that brings row j to row i gains.
    """
    exact = torch.promote_types(images.dtype, torch.float32)
    layout = torch.channels_last if taps <= images.shape[2] else torch.contiguous_format
    gradient, images = (maps.to(exact).contiguous(memory_format=layout) for maps in (gradient, images))
    channels, rows = images.shape[1], gradient.shape[2]
    if layout is torch.channels_last:
        kernels = images.new_empty(channels, 1, taps, 1)
        steps = ([1, 1], [padding, 0], [1, 1], False, [0, 0], channels)
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, images, kernels, None, *steps, [False, True, False]
        )[1]
        return found
    product = torch.bmm(gradient.flatten(0, 1), images.flatten(0, 1).mT).unflatten(0, (-1, channels)).sum(0)
    around = F.pad(product, (padding, padding))
    skewed = F.pad(around.flatten(1), (0, rows)).view(channels, rows, around.shape[2] + 1)
    return skewed[..., :taps].sum(1)
