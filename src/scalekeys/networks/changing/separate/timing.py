"""How long networks and layers take: two in turn, on one thread, in a runtime."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.changing.separate.cache import keep_times, key_of, read_times
from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.changing.separate.steps import RUNTIMES, Step, layer_steps, version_of
from scalekeys.networks.running.batches import evaluating, run_network
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.hooks import hooked
from scalekeys.threads import one_thread

_REPEATS, _SECONDS, _LEAST = 15, 0.3, 1e-7
_NETWORK_REPEATS, _NETWORK_SECONDS = 9, 2.0


@dataclass(frozen=True)
class Call:
    """With what a layer is called."""

    shape: tuple[int, ...]
    channels_last: bool
    """How the input lies in memory."""


Calls: TypeAlias = Mapping[Call, int]
"""How often a layer is called with what, in one pass."""


@dataclass(frozen=True)
class Times:
    """How long a network took before and after a change, in turn."""

    before: float
    after: float
    """`before` and `after`: medians, in milliseconds for the example."""
    ratio: float
    """Median of the ratios of neighbouring runs, after by before."""
    quartiles: tuple[float, float]
    """The first and the third quartile of these ratios."""


class Stopwatch:
    """Times of layers and networks in one runtime, on one thread.

    `runtime`: one of ``scalekeys.networks.changing.separate.steps.RUNTIMES``.
    Raises ModelError if there is no such runtime; MissingExtraError if it is not installed.
    """

    def __init__(self, runtime: str) -> None:
        if runtime not in RUNTIMES:
            raise ModelError(f"runtime is one of {', '.join(map(repr, RUNTIMES))} or None, got {runtime!r}")
        self.runtime = runtime
        self._version = version_of(runtime)
        self._known = read_times()

    def layer(self, layer: Convolution, changed: SeparableConv, calls: Calls) -> tuple[float, float]:
        """Return how many milliseconds a layer and its separable form take in one pass through the network.

        What was measured before, with whatever weights, is read from the cache of the user.
        """
        before = after = 0.0
        for call, count in calls.items():
            one, other = self._pair(layer, changed, call)
            before, after = before + 1e3 * count * one, after + 1e3 * count * other
        return before, after

    def _pair(self, layer: Convolution, changed: SeparableConv, call: Call) -> list[float]:
        like = next(changed.parameters())
        key = key_of(self.runtime, self._version, call, like.dtype, like.device.type, layer, changed.rank)
        if key not in self._known:
            inputs = torch.randn(call.shape, generator=torch.Generator().manual_seed(0)).to(like)
            if call.channels_last:
                inputs = inputs.contiguous(memory_format=_channels_last(inputs))
            with one_thread(), torch.no_grad():
                steps = layer_steps(self.runtime, layer, changed, inputs)
                times = in_turn(steps, _clock(inputs), _REPEATS, _SECONDS)
            before, after, *around = (quantiles(own, n=4)[0] for own in times)  # a busy machine makes runs slower only
            self._known[key] = [max(one - sum(around), _LEAST) for one in (before, after)]
            keep_times({key: self._known[key]})
        return self._known[key]

    def ready(self, module: nn.Module, example: Tensor) -> "Ready":
        """Make a network ready to be timed on an example."""
        with one_thread(), torch.no_grad(), evaluating(module, copies=False):
            return Ready(module, RUNTIMES[self.runtime](module, example), _clock(example))


@dataclass(frozen=True, eq=False)
class Ready:
    """A network that is ready to be timed."""

    module: nn.Module
    step: Step
    clock: Callable[[], float]

    def times(self, changed: "Ready") -> Times:
        """Return how long the network takes, and how long a changed one does, in evaluation mode."""
        steps = [self.step, changed.step]
        modes = (evaluating(one.module, copies=False) for one in (self, changed))
        with one_thread(), torch.no_grad(), next(modes), next(modes):
            first, second = in_turn(steps, self.clock, _NETWORK_REPEATS, _NETWORK_SECONDS)
        ratios = sorted(own / its for own, its in zip(second, first, strict=True))
        low, high = (ratios[round(place * (len(ratios) - 1))] for place in (0.25, 0.75))
        return Times(1e3 * median(first), 1e3 * median(second), median(ratios), (low, high))


def in_turn(steps: Sequence[Step], clock: Callable[[], float], repeats: int, seconds: float) -> list[list[float]]:
    """Run steps in turn, in the other order every other time, and return the seconds of each run of each step.

    `steps`: each runs once beforehand.
    `repeats`: how often each step runs at least.
    `seconds`: how long all of them run at least.
    """
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    end, number = time.perf_counter() + seconds, 0
    while number < repeats or time.perf_counter() < end:
        for step, own in list(zip(steps, times, strict=True))[:: -1 if number % 2 else 1]:
            start = clock()
            step()
            own.append(clock() - start)
        number += 1
    return times


def calls_of(network: nn.Module, layers: Mapping[str, Convolution], example: Tensor) -> dict[str, Calls]:
    """Return with what inputs layers are called when a network runs; nothing for a layer that is not called.

    Raises ModelError if the network does not run.
    """
    found: dict[str, Counter[Call]] = {}

    def see(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0]
        flat = given.is_contiguous()
        last = not flat and given.ndim > 3 and given.is_contiguous(memory_format=_channels_last(given))
        found.setdefault(name, Counter())[Call(tuple(given.shape), last)] += 1

    with hooked(layers, see, before=True), evaluating(network), torch.no_grad():
        run_network(network, example)
    return dict(found)


def _channels_last(inputs: Tensor) -> torch.memory_format:
    return torch.channels_last if inputs.ndim == 4 else torch.channels_last_3d


def _clock(inputs: Tensor) -> Callable[[], float]:
    """Return the clock of this process alone, which other processes do not disturb, or that of the wall for a GPU."""
    return time.perf_counter if inputs.is_cuda else time.process_time
