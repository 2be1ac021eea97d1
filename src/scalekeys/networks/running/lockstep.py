"""Several batches going through a network together, each layer seeing all of them before the next one sees any."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Semaphore, Thread
from typing import TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import evaluating, run_network, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import FunctionalCalls
from scalekeys.networks.running.hooks import hooked

Change: TypeAlias = Callable[[Tensor], Tensor]
Meeting: TypeAlias = Callable[[str, Sequence[Tensor]], Change | None]


def run_together(
    network: nn.Module,
    batches: Iterable[Tensor],
    meeting: Meeting,
    *,
    inputs: Mapping[str, nn.Module],
    outputs: Mapping[str, Convolution],
) -> None:
    """Run a network on all batches at once, and halt all of them at some layers.

    `network`: it runs in evaluation mode, without gradients, and comes back as it was.
    `batches`: not empty; all of them, and what they are at a layer, are in memory together.
    `meeting`: called with the name of a layer and what the batches are there, as soon as all of them have arrived; it
    may change the layer, and what it returns, if anything, is done to each of them before it goes on.
    `inputs`, `outputs`: the layers to halt before, and the convolutions to halt behind, by name.
    Raises ModelError if the batches come to different layers, because the network decides by its input where it goes,
    or a convolution sees an input that is no batch.

    This is what one batch of all inputs would do, without the memory that this takes between the layers, and for
    inputs of several sizes. Each batch has a thread of its own, of which one is at work at a time.
    """
    calls = FunctionalCalls(outputs.values())
    walks = [_BatchWalk(network, batch, calls) for batch in batches]
    at_work = walks[0]

    def halt(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor | None = None) -> Tensor | None:
        if isinstance(layer, Convolution) and given[0].ndim == len(layer.kernel_size) + 1:
            raise ModelError(
                f"layer {name!r}: sees a single input, of shape {tuple(given[0].shape)}; give batches of inputs, with "
                "another dimension before it"
            )
        return at_work.halt(name, given[0] if output is None else output)

    halting = hooked(inputs, halt, before=True), hooked(outputs, halt)
    with calls.hooked(), halting[0], halting[1], evaluating(network), uncompiled():
        try:
            change: Change | None = None
            while True:
                for at_work in walks:
                    at_work.go_on(change)
                here = [walk.place for walk in walks if walk.place is not None]
                if not here:
                    return
                change = meeting(_place_of_all(here, len(walks)), [value for _, value in here])
        finally:
            for walk in walks:
                walk.cancel()


def _place_of_all(places: Sequence[tuple[str, Tensor]], walks: int) -> str:
    """Return the name of the layer that all walks have come to."""
    name = places[0][0]
    if len(places) < walks or any(other != name for other, _ in places):
        raise ModelError(
            f"batches go different ways at layer {name!r}, because the network decides by its input where it goes; "
            "give all inputs in one batch"
        )
    return name


class _Cancelled(BaseException):
    """Ends a walk that nobody waits for."""


class _BatchWalk:
    """One batch on its way through a network, in a thread that works only while :meth:`go_on` waits for it."""

    def __init__(self, network: nn.Module, batch: Tensor, calls: FunctionalCalls) -> None:
        self.place: tuple[str, Tensor] | None = None
        self.error: BaseException | None = None
        self.cancelled = self.ended = False
        self.change: Change | None = None
        self._network, self._batch, self._calls = network, batch, calls
        self._turn, self._done = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._walk, daemon=True)

    def _walk(self) -> None:
        self._turn.acquire()
        try:
            if not self.cancelled:
                with torch.no_grad(), self._calls:
                    run_network(self._network, self._batch)
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._done.release()

    def halt(self, name: str, value: Tensor) -> Tensor | None:
        """Wait at a layer, in the thread of the walk, and return what it goes on with if that is something else."""
        self.place = (name, value)
        self._done.release()
        self._turn.acquire()
        self.place = None
        if self.cancelled:
            raise _Cancelled
        return None if self.change is None else self.change(value)

    def go_on(self, change: Change | None = None) -> None:
        """Let the thread work until it halts or ends, after a change of what it has come to a layer with."""
        self.change = change
        if not self._thread.ident:
            self._thread.start()
        self._turn.release()
        self._done.acquire()
        if self.error is not None and not self.cancelled:
            raise self.error

    def cancel(self) -> None:
        """End it wherever it is."""
        self.cancelled = True
        if self._thread.ident:
            if not self.ended:
                self.go_on()
            self._thread.join()
