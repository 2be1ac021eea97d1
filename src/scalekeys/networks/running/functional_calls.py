"""Convolutions that a network calls with the weight of a layer, instead of calling the layer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import local
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scalekeys.networks.running.depthwise_layers import Convolution

CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
"""The functions that convolve, by the number of axes less one."""


class _Inside(local):
    """How many of the layers are at work in a thread."""

    depth: int = 0


class FunctionalCalls(TorchFunctionMode):
    """A mode in which the hooks of a layer see every convolution with the weight of the layer.

    Networks such as Mamba in transformers hand the weight of a layer to a convolution and never call the layer, so that
    no hook sees what the layer does. In this mode the hooks are called with the input and the output of such a
    convolution, as if the layer had been called. A weight that is computed belongs to no layer, so it is seen only
    where the layer itself is called.
    """

    def __init__(self, layers: Iterable[Convolution]) -> None:
        super().__init__()
        self._layers = list(layers)
        self._inside = _Inside()

    @contextmanager
    def hooked(self) -> Iterator["FunctionalCalls"]:
        """Keep hooks on the layers that tell whether one of them is at work."""
        with ExitStack() as stack:
            for layer in self._layers:
                stack.callback(layer.register_forward_pre_hook(self._enter).remove)
                stack.callback(layer.register_forward_hook(self._leave, always_call=True).remove)
            yield self

    def _enter(self, *_: object) -> None:
        self._inside.depth += 1

    def _leave(self, *_: object) -> None:
        self._inside.depth -= 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func not in CONVOLVE or self._inside.depth:
            return func(*args, **named)
        layer = self._owner(args[1] if len(args) > 1 else named.get("weight"))
        if layer is None:
            return func(*args, **named)
        if args:
            return _called(layer, args[0], lambda given: func(given, *args[1:], **named))
        return _called(layer, named["input"], lambda given: func(**(named | {"input": given})))

    def _owner(self, weight: Any) -> Convolution | None:
        """Return the layer whose parameter has the memory of a weight."""
        if type(weight) not in (Tensor, nn.Parameter) or weight.is_meta:
            return None
        for layer in self._layers:
            own = layer._parameters.get("weight")
            if own is not None and own.numel() == weight.numel() and own.data_ptr() == weight.data_ptr():
                return layer
        return None


@contextmanager
def functional_calls(layers: Iterable[Convolution]) -> Iterator[None]:
    """Let the hooks of layers see the convolutions with their weights, see :class:`FunctionalCalls`."""
    calls = FunctionalCalls(layers)
    with calls.hooked(), calls:
        yield


def _called(layer: Convolution, given: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute the output of a layer from an input, with the hooks of the layer before and behind."""
    for key, hook in list(layer._forward_pre_hooks.items()):
        keywords: tuple[dict[str, Any], ...] = ({},) if key in layer._forward_pre_hooks_with_kwargs else ()
        changed = hook(layer, (given,), *keywords)
        while isinstance(changed, tuple):  # the input, the arguments, or these and the keywords
            changed = changed[0]
        given = given if changed is None else changed
    output = compute(given)
    for key, behind in list(layer._forward_hooks.items()):
        keywords = ({},) if key in layer._forward_hooks_with_kwargs else ()
        after = behind(layer, (given,), *keywords, output)
        output = output if after is None else after
    return output
