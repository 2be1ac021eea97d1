"""Whether two networks give the same outputs, and what they cost."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import evaluating, run_network, uncompiled

_DRAWS = 2


class Reference:
    """The outputs of a network on some inputs, to compare those of others with.

    `example`: inputs. Two more batches of random numbers are drawn in their shape, between the smallest and the largest
    input; standard normal where these are equal, and none where they are integers.
    `more`: further batches.
    Raises ModelError if the network does not run, or its outputs hold no values, or are not finite, or not the same
    twice.
    """

    def __init__(self, network: nn.Module, example: Tensor, more: Sequence[Tensor] = (), seed: int = 0) -> None:
        self.inputs = [example, *_random(example, seed), *more]
        name = type(network).__name__
        self._outputs = [_outputs(network, batch) for batch in self.inputs]
        _check_values(network, [output for batch in self._outputs for output in batch])
        if not all(output.isfinite().all() for batch in self._outputs for output in batch):
            raise ModelError(
                f"the network {name}: its outputs are not finite, so that they cannot be compared; give an example of "
                "inputs in the range that the network takes"
            )
        if not _difference(self._outputs[0], _outputs(network, example)) == 0:
            raise ModelError(
                f"the network {name}: gives other outputs when it runs again on the same inputs, so that it cannot be "
                "compared; take what is random out of it"
            )

    def difference(self, network: nn.Module) -> float:
        """Return the largest difference of an output, as a share of the largest output of the reference."""
        return max(
            _difference(mine, _outputs(network, batch)) for batch, mine in zip(self.inputs, self._outputs, strict=True)
        )


def difference(network: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    """Return the largest difference of an output of two networks for some inputs, as a share of the largest output.

    >>> difference(nn.Identity(), nn.ReLU(), torch.tensor([-1.0, 4.0]))
    0.25
    """
    mine = _outputs(network, inputs)
    _check_values(network, mine)
    return _difference(mine, _outputs(other, inputs))


def multiplications(network: nn.Module, example: Tensor) -> int:
    """Return how often convolutions, linear layers and products of matrices multiply, for the first of some inputs.

    >>> multiplications(nn.Conv2d(2, 3, 1), torch.zeros(4, 2, 5, 5))
    150
    """
    with evaluating(network), torch.no_grad(), uncompiled(), FlopCounterMode(display=False) as counter:
        run_network(network, example[:1])
    return int(counter.get_total_flops()) // 2


def parameter_count(network: nn.Module) -> int:
    """Return how many numbers the parameters of a network hold; a shared parameter counts once."""
    return sum(parameter.numel() for parameter in network.parameters())


def _random(example: Tensor, seed: int) -> list[Tensor]:
    if not example.is_floating_point() or not example.numel():
        return []
    generator = torch.Generator().manual_seed(seed)
    low, high = example.min().cpu(), example.max().cpu()
    if low == high:
        return [torch.randn(example.shape, generator=generator).to(example) for _ in range(_DRAWS)]
    return [torch.rand(example.shape, generator=generator).mul(high - low).add(low).to(example) for _ in range(_DRAWS)]


def _outputs(network: nn.Module, batch: Tensor) -> list[Tensor]:
    with evaluating(network), torch.no_grad(), uncompiled():
        return [tensor.double() for tensor in _tensors(run_network(network, batch))]


def _check_values(network: nn.Module, outputs: Sequence[Tensor]) -> None:
    if not any(output.numel() for output in outputs):
        raise ModelError(
            f"the network {type(network).__name__} gives no values that can be compared; give at least one input, and "
            "a network that returns tensors, or lists or dicts of them"
        )


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for one in output.values():
            yield from _tensors(one)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for one in output:
            yield from _tensors(one)


def _difference(reference: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    if len(reference) != len(outputs) or any(a.shape != b.shape for a, b in zip(reference, outputs, strict=True)):
        return float("inf")
    return max(map(_share, reference, outputs), default=0.0)


def _share(reference: Tensor, output: Tensor) -> float:
    if not reference.numel():
        return 0.0
    difference = float((reference - output).abs().max())
    if not isfinite(difference):
        return inf  # a NaN would be lost among other shares
    scale = float(reference.abs().max())
    return difference if difference == 0 or scale == 0 else difference / scale
