"""The convolutions that depthwise layers call, with the maps and the paddings that these really get."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor
from torch.overrides import TorchFunctionMode

from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import CONVOLVE
from scalekeys.networks.running.hooks import hooked
from scalekeys.networks.running.running_moments import PatchGeometry

Sight: TypeAlias = Callable[[str, Tensor, PatchGeometry, Tensor], Tensor | None]


@contextmanager
def convolution_calls(layers: Mapping[str, Convolution], see: Sight) -> Iterator[None]:
    """See the depthwise convolutions of layers; layers that pad by themselves as they are.

    `see`: called with the name of the layer, the input (inputs, channels, *sides), where its patches lie, and the
    output; what it returns, if anything, takes the place of the output.
    """
    inside: list[str] = []  # the layers at work

    def leave(*_: object) -> None:
        inside.pop()

    enter = hooked(layers, lambda name, *_: inside.append(name), before=True)
    with enter, hooked(layers, leave), _ConvolutionCalls(layers, see, inside):
        yield


class _ConvolutionCalls(TorchFunctionMode):
    """See :func:`convolution_calls`."""

    def __init__(self, layers: Mapping[str, Convolution], see: Sight, inside: Sequence[str]) -> None:
        super().__init__()
        self._layers, self._see, self._inside = layers, see, inside

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))  # which refuses what is smaller than a kernel
        if func in CONVOLVE and self._inside:
            return self._seen(output, self._inside[-1], *args, **(kwargs or {}))
        return output

    def _seen(
        self,
        output: Tensor,
        name: str,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,  # noqa: ARG002
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        """Show one call of a convolution, whose signature this is, if it is that of the layer."""
        layer = self._layers[name]
        kernel = tuple(layer.kernel_size)
        if groups != layer.in_channels or tuple(weight.shape[2:]) != kernel or not input.numel():
            return output
        axes = len(kernel)
        steps = _for_each_axis(dilation, axes)
        geometry = PatchGeometry(kernel, _for_each_axis(stride, axes), steps, zeros_around(padding, kernel, steps))
        changed = self._see(name, input if input.ndim == axes + 2 else input[None], geometry, output)
        return output if changed is None else changed


def zeros_around(padding: int | str | Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return the padding of a convolution as ``F.pad`` takes it: left, right, above, below, and so on."""
    if padding == "same":
        both = [reach * (taps - 1) for reach, taps in zip(dilation, kernel, strict=True)]
        ends = [(whole // 2, whole - whole // 2) for whole in both]
    else:
        ends = [(side, side) for side in _for_each_axis(0 if isinstance(padding, str) else padding, len(kernel))]
    return tuple(side for pair in reversed(ends) for side in pair)


def _for_each_axis(values: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (values,) * axes if isinstance(values, int) else tuple(values) * (axes // len(values))
