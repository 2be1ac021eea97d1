"""Where a network loses: how far the answers of its depthwise layers are from those of another network."""

from contextlib import suppress
from dataclasses import dataclass
from math import cos, nan, pi, prod, sqrt
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints import check_same_layers
from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank
from scalekeys.networks.running.batches import Batches, evaluating, inputs_of, run_network, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution, depthwise_layers
from scalekeys.networks.running.hooks import watched
from scalekeys.networks.running.running_moments import ChannelMoments
from scalekeys.threads import one_thread

if TYPE_CHECKING:
    import pandas as pd

_FREQUENCIES = (64, 64, 32)  # at least so many along each axis, for kernels of one, two and three axes
_VALUES = 2**22  # of transfer functions in memory at a time


@dataclass(frozen=True)
class LayerError:
    """How far the answers of one layer are from what they were.

    Parameters
    ----------
    layer : str
    bound : float
        What the difference of the filters can do to any input, as a share of what the filters can do: the largest
        ratio, over channels, of the greatest gains of both.
    local : float
        Mean squared error of the answers to the inputs of the original network, by the variance of its answers. Where
        these do not vary, it is infinite, or NaN without an error; and NaN where the layer, called by itself, gives
        another shape or cannot run.
    cumulative : float
        The same for the answers to the inputs that the changed network gives the layer.
    """

    layer: str
    bound: float
    local: float = nan
    cumulative: float = nan


@dataclass(frozen=True)
class Diagnosis:
    """Errors of all depthwise layers, in the order of the network.

    Parameters
    ----------
    layers : tuple of LayerError
    """

    layers: tuple[LayerError, ...]

    def __repr__(self) -> str:
        worst = max(self.layers, key=lambda one: one.local if one.local == one.local else one.bound)
        return f"Diagnosis({len(self.layers)} layers, worst {worst.layer!r}: {worst})"

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a layer: `layer`, `bound`, `local`, `cumulative`."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.layers])


def diagnose(original: nn.Module, changed: nn.Module, batches: Batches | None = None) -> Diagnosis:
    r"""Tell layer by layer how far a changed network is from the original one.

    Parameters
    ----------
    original, changed : nn.Module
        Networks with the same depthwise layers; both stay as they are.
    batches : iterable, optional
        Batches of inputs as the networks take them, preprocessed, in any form that data loaders give. Without them
        only the bound is known, which needs none.

    Returns
    -------
    Diagnosis

    Raises
    ------
    CheckpointError
        If a network cannot be read.
    ModelError
        If they have other layers, or the batches hold no inputs.

    Notes
    -----
    With :math:`\hat h(\omega)` the transfer function of a filter h and m its model, :math:`|(h - m) * u| \le
    \max_\omega |\hat h - \hat m| \, |u|` for every input u. The maximum is taken over at least 64 frequencies along
    each axis (32 for kernels of three axes) and then raised by the most that a trigonometric polynomial of that degree
    can exceed it in between (Ehlich and Zeller, 1964).

    Where `local` is large, the layer's own models are to blame; where `cumulative` is much larger than `local`, the
    layers before it are.

    Examples
    --------
    >>> import scalekeys as sk
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, groups=4))
    >>> replaced = sk.replace(network, sk.fit(sk.extract(network), "jet2"))
    >>> found = diagnose(network, replaced, torch.randn(4, 3, 9, 9, generator=generator))
    >>> list(found.to_pandas().columns)
    ['layer', 'bound', 'local', 'cumulative']
    >>> found.layers[0].local == found.layers[0].cumulative  # nothing was changed before it
    True
    """
    there, here = open_module(original), open_module(changed)
    bank, other = there.bank(), here.bank()
    check_same_layers({layer.name: tuple(layer.kernels.shape) for layer in other}, bank, label=here.label)
    bounds = _bounds(bank, other)
    if batches is None:
        return Diagnosis(tuple(LayerError(name, bound) for name, bound in bounds.items()))
    networks = unwrapped(original), unwrapped(changed)
    layers = depthwise_layers(networks[0], there), depthwise_layers(networks[1], here)
    sums = {name: _Sums() for name in bounds}
    for batch in inputs_of(batches, networks[0]):
        inputs, answers = _seen(networks[0], batch, layers[0])
        _, moved = _seen(networks[1], next(inputs_of(batch, networks[1])), layers[1])
        for name, answer in answers.items():
            sums[name].add(answer, _answer(layers[1][name], inputs[name]), moved.get(name))
    return Diagnosis(tuple(LayerError(name, bound, *sums[name].shares()) for name, bound in bounds.items()))


@dataclass
class _Sums:
    """What has been seen of a layer so far."""

    answers: ChannelMoments | None = None
    local: float = 0.0
    cumulative: float = 0.0

    def add(self, answer: Tensor, local: Tensor | None, moved: Tensor | None) -> None:
        if not answer.numel():
            return
        values = answer.double()
        self.answers = self.answers or ChannelMoments(values.shape[1], values.device)
        self.answers.add(values)
        self.local += _distance(local, values)
        self.cumulative += _distance(moved, values)

    def shares(self) -> tuple[float, float]:
        if self.answers is None:
            return nan, nan
        variance = self.answers.squares.sum()
        return float(self.local / variance), float(self.cumulative / variance)


def _distance(found: Tensor | None, wanted: Tensor) -> float:
    """Return the squared difference; NaN where there is none, because nothing was found, or has another shape."""
    if found is None or found.shape != wanted.shape:
        return nan
    return float((found.to(wanted) - wanted).square().sum())


@torch.no_grad()
def _answer(layer: Convolution, inputs: Tensor) -> Tensor | None:
    """Return what a layer gives for inputs that another one saw; None where it does not run on them by itself."""
    with evaluating(layer), uncompiled(), suppress(ModelError):
        answer: Tensor = run_network(layer, next(inputs_of(inputs, layer)))
        return answer
    return None


def _seen(
    network: nn.Module, batch: Tensor, layers: dict[str, Convolution]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the inputs and answers of all layers; of several calls, the last."""
    inputs: dict[str, Tensor] = {}
    answers: dict[str, Tensor] = {}

    def note(name: str, _: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        inputs[name], answers[name] = given[0].clone(), output.clone()  # what follows may work in place

    with torch.no_grad(), watched(network, layers, note):
        run_network(network, batch)
    return inputs, answers


@one_thread()
def _bounds(bank: FilterBank, other: FilterBank) -> dict[str, float]:
    """Return for each layer the largest ratio of the gain of the difference (at most) to that of the filter."""
    found = {}
    for layer, changed in zip(bank, other, strict=True):
        between = _between(layer.size, count := max(_FREQUENCIES[len(layer.size) - 1], 8 * max(layer.size)))
        difference = _gain(layer.kernels - changed.kernels, count) * between
        ratio = torch.where(difference > 0, difference / _gain(layer.kernels, count), 0.0)
        found[layer.name] = float(ratio.max())
    return found


def _gain(filters: Float[Tensor, "filters *sides"], count: int) -> Float[Tensor, " filters"]:
    """Return the largest absolute value of each transfer function on a grid of frequencies."""
    axes = filters.ndim - 1
    gains = []
    for part in filters.detach().double().split(max(1, _VALUES // count**axes)):
        transfer: Tensor = torch.fft.rfftn(part, s=(count,) * axes, dim=tuple(range(1, axes + 1)))
        gains.append(transfer.abs().flatten(1).amax(-1))
    return torch.cat(gains)


def _between(size: tuple[int, ...], count: int) -> float:
    """Return by how much at most a transfer function exceeds its values on a grid: its square has degree side - 1."""
    return 1 / sqrt(prod(cos(pi * (side - 1) / count) for side in size))
