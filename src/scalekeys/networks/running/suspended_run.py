"""A run of a network that is suspended before a layer, and goes on from there any number of times."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from math import nan
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_any, tree_leaves, tree_map

from scalekeys.networks.running.batches import run_network, uncheckpointed, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import functional_calls
from scalekeys.networks.running.hooks import hooked


class SuspendedRun:
    """A run of a network on one batch, which begins at the layer before which it was suspended last.

    `network`: in evaluation mode. Parameters may change only where the run has not been.

    The code of the network starts from its beginning each time, but no call of PyTorch before the suspension computes
    anything: it returns what it returned when it was recorded. Only tensors that the network still holds when it is
    suspended are kept. All others are replaced by tensors of the same shape without memory of their own, into which a
    network that computes with PyTorch alone never looks. Where a network computes with something else, which is not
    seen here, it meets NaN or zeros there: compare once, and call :meth:`restart` if a resumed run gives other values.

    >>> network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)).eval()
    >>> run = SuspendedRun(network, torch.ones(1, 1, 8, 8))
    >>> run.suspend_before(network[2])
    >>> run.nbytes
    144
    >>> whole = network(run.batch)
    >>> nn.init.zeros_(network[0].weight).shape  # which is not looked at any more
    torch.Size([1, 1, 3, 3])
    >>> with run.resumed():
    ...     torch.equal(network(run.batch), whole)
    True
    """

    def __init__(self, network: nn.Module, batch: Tensor) -> None:
        self.network, self.batch = network, batch
        tensors = (batch, *network.parameters(), *network.buffers())
        self._own = {one.untyped_storage().data_ptr() for one in tensors}
        self._record = _Record()

    @property
    def nbytes(self) -> int:
        """The memory that is taken by what the network holds at the suspension, in bytes."""
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in self._record.held()}
        return sum(size for place, size in storages.items() if place not in self._own)

    def restart(self) -> None:
        """Begin with the batch again."""
        self._record = _Record()

    def resumed(self) -> TorchFunctionMode:
        """Return a mode in which the network, called with the batch, does only what comes after the suspension."""
        return _Resumed(self._record.fresh(self._own))

    def suspend_before(self, layer: Convolution) -> None:
        """Go on to a layer, without gradients, and suspend the run there; begin anew if it is not called."""
        mode, batch = _Recording(self._record.fresh(self._own)), self.batch.clone()
        self.restart()

        def halt(*_: object) -> None:
            self._record = mode.record()
            raise _Halted

        with (
            hooked({"": layer}, halt, before=True),
            torch.no_grad(),
            uncompiled(),
            uncheckpointed(),
            functional_calls([layer]),
            suppress(_Halted),
            mode,
        ):
            run_network(self.network, batch)


class _Halted(BaseException):
    """Ends a run that is suspended."""


@dataclass(frozen=True)
class _Argument:
    """A result that is one of the arguments of its call, as that of a change in place."""

    position: int


@dataclass(frozen=True, eq=False)
class _Gone:
    """A tensor that nobody holds any more; what stands for it has its shape."""

    empty: Tensor

    @classmethod
    def like(cls, tensor: Tensor) -> "_Gone":
        """Return what stands for a tensor."""
        value = nan if tensor.is_floating_point() or tensor.is_complex() else 0
        return cls(torch.full((), value, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape))


@dataclass(frozen=True, eq=False)
class _Weak:
    """A tensor that may be held by somebody."""

    tensor: Any
    gone: _Gone


_MADE_AGAIN = object()


@dataclass(eq=False)
class _Record:
    """The results of the calls of a run."""

    results: list[Any] = field(default_factory=list)
    """Of each call: tensors that are still held, :class:`_Gone`, :class:`_Argument`, values, or lists of these; or
    :data:`_MADE_AGAIN` for calls without tensors, such as those that switch gradients off."""

    def held(self) -> list[Tensor]:
        """Return the tensors that are still held."""
        return [leaf for result in self.results for leaf in _leaves(result) if isinstance(leaf, Tensor)]

    def fresh(self, own: set[int]) -> list[Any]:
        """Return the results with copies of what is held, which may be changed in place; parameters stay."""
        copies: dict[int, Any] = {}

        def copy(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.untyped_storage().data_ptr() in own:
                return leaf
            return deepcopy(leaf, copies)  # tensors that share memory go on sharing it

        return [result if isinstance(result, _Gone) else tree_map(copy, result) for result in self.results]


def _leaves(result: Any) -> Sequence[Any]:
    return (result,) if isinstance(result, _Gone | Tensor) else tree_leaves(result)


class _Resumed(TorchFunctionMode):
    """Answers the calls of PyTorch by their number, as long as there are results."""

    def __init__(self, results: list[Any]) -> None:
        super().__init__()
        self._results, self._calls = results, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        number, named = self._calls, kwargs or {}
        self._calls += 1
        known = self._results[number] if number < len(self._results) else _MADE_AGAIN
        if known is _MADE_AGAIN:
            return func(*args, **named)
        return known if isinstance(known, Tensor) else _given(known, args, named)


def _given(known: Any, args: Any, named: Any) -> Any:
    """Return a recorded result, for the arguments of the present call."""
    if isinstance(known, _Gone):
        return known.empty

    def give(leaf: Any) -> Any:
        if isinstance(leaf, _Argument):
            return tree_leaves((args, named))[leaf.position]
        return leaf.empty if isinstance(leaf, _Gone) else leaf

    return tree_map(give, known)


class _Recording(_Resumed):
    """The same, which records its own results, without keeping a tensor alive."""

    def __init__(self, results: list[Any]) -> None:
        super().__init__(results)
        self._seen: list[Any] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        number = self._calls
        known = self._results[number] if number < len(self._results) else None
        result = super().__torch_function__(func, types, args, kwargs)
        if known is None:
            self._seen.append(_noted(result, tree_leaves((args, kwargs or {}))))
        else:
            self._seen.append(_weakly(known))
            self._results[number] = None
        return result

    def record(self) -> _Record:
        """Return what is held now."""
        return _Record([tree_map(_as_held, one) for one in self._seen])


def _noted(result: Any, arguments: Sequence[Any]) -> Any:
    if not tree_any(lambda leaf: isinstance(leaf, Tensor), (result, list(arguments))):
        return _MADE_AGAIN

    def note(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        position = next((index for index, one in enumerate(arguments) if one is leaf), None)
        return _Weak(ref(leaf), _Gone.like(leaf)) if position is None else _Argument(position)

    return tree_map(note, result)


def _weakly(known: Any) -> Any:
    """Let go of the tensors of a result that was recorded before."""
    return tree_map(lambda leaf: _Weak(ref(leaf), _Gone.like(leaf)) if isinstance(leaf, Tensor) else leaf, known)


def _as_held(leaf: Any) -> Any:
    if not isinstance(leaf, _Weak):
        return leaf
    tensor = leaf.tensor()
    return leaf.gone if tensor is None else tensor
