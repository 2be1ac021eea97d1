"""Models of filters fitted inside their network: layer by layer, each making up for what those before it changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters.choice import matching_layers
from scalekeys.fitting import Fit
from scalekeys.networks.changing.gauss_newton import quadratic
from scalekeys.networks.changing.keeping import PATCHES, Keep, at_once, response_fit
from scalekeys.networks.changing.linear_parts import LinearParts, linear_parts, with_weights
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.running.batches import Batches, inputs_of
from scalekeys.networks.running.depthwise_layers import (
    Convolution,
    copied,
    copy_of,
    depthwise_layers,
    make_plain,
)
from scalekeys.networks.running.memory_layout import fastest_layout
from scalekeys.networks.running.partial_run import Passage, call_order, next_layer, run_between
from scalekeys.networks.running.suspended_run import SuspendedRun

_HELD_OUT = 5  # one input in this many decides how far to go
_DAMPING = (0.3, 1.0, 3.0)
_LARGEST = 8_192  # unknowns that are solved for together
_BYTES = 2**31  # of maps that are kept between layers; batches beyond it are computed from their beginning
_FEW = 2
_SAME = 1e-3


def fit_in_network(
    module: nn.Module,
    batches: Batches,
    model: str | Sequence[str] = "sparse6",
    *,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    keep: Keep = at_once,
) -> Fit:
    r"""Fit the depthwise filters of a network for what the network does with them, one layer after another.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is.
    batches : iterable
        Batches of inputs as the network takes them, preprocessed, in any form that data loaders give; labels are not
        looked at. A few hundred images are enough. They are kept in memory, with the maps of one layer at a time up to
        2 GiB of maps; batches beyond that are computed from their beginning for each layer, which takes longer.
    model : str or sequence of str
        See :func:`scalekeys.fit`.
    layers : sequence of str, optional
        Only the layers of these names, in which ``*`` stands for anything; by default all. Replace the same ones.
    seed : int
        Of the choice of inputs and places.
    progress : callable, optional
        Called with 1 after each layer.
    keep : callable
        ``keep(name, compute)`` returns what ``compute()`` returns, a dict of tensors, or what it returned when the same
        call with the same arguments was interrupted; see :mod:`scalekeys.networks.changing.keeping`.

    Returns
    -------
    Fit
        For :func:`scalekeys.replace`, with the same `layers`.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If there are fewer than ten inputs, or the model is unknown.
    FilterError
        If no layer has such a name, or what comes to a layer is not finite.

    Notes
    -----
    Scales and terms are those of a fit to responses (``criterion="response"``). Then, in the order in which the network
    calls its layers, the coefficients of all filters of a layer are changed together by a damped Gauss-Newton step for

    .. math:: \min_\theta \sum | f(\theta) - f_0 |^2 ,

    where :math:`f_0` is the input of the next depthwise layer (or what the network gives, after the last) in the
    original network, and f is the same in the network whose filters up to here are replaced. So errors of the channels
    of a layer may cancel, they count as much as the next layer sees of them, and each layer makes up for errors of
    those before it. The curvature is estimated from the gradients of random combinations of what the next layer sees
    (Hutchinson); its damping, relative to each filter's own curvature, is chosen on a fifth of the inputs that the step
    does not use, and a step that does not help there is not taken.

    A layer that is called more than once keeps its plain fit.

    References
    ----------
    M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines",
    Communications in Statistics 18(3):1059-1076, 1989.

    Examples
    --------
    >>> import scalekeys as sk
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, padding=2, groups=4), nn.ReLU(), nn.Flatten())
    >>> images = torch.randn(20, 3, 8, 8, generator=generator)
    >>> fit = fit_in_network(network, images, "sparse4")
    >>> sk.replace(network, fit)(images).shape
    torch.Size([20, 256])
    """
    opened = open_module(module)
    given = [one for one in inputs_of(batches, unwrapped(module)) if len(one)]
    network, inputs = fastest_layout(module, given)
    learning, held_out = _split(inputs, seed)
    covariance = patch_covariance(network, inputs, patches=PATCHES)
    plain = response_fit(opened.bank(), model, covariance, keep)
    walk = _Walk(network, plain, [*learning, *held_out], learning[0][:_FEW])
    parts, weights = _parts_of(plain), {}
    wanted = dict(zip(parts, matching_layers(plain.bank, layers), strict=True))
    for name in dict.fromkeys(walk.order):
        if not wanted[name]:
            continue
        walk.write(name, parts[name], parts[name].weights)

        def improved(name: str = name) -> dict[str, Tensor]:
            stretch = walk.stretch_from(name)
            return {} if stretch is None else {"weights": _improved(stretch, parts[name], len(learning), seed)}

        found = keep(f"layer {name}", improved)
        if "weights" in found:
            weights[name] = found["weights"]
            walk.write(name, parts[name], weights[name])
        if progress is not None:
            progress(1)
    return with_weights(plain, [weights.get(name, parts[name].weights) for name in parts], covariance)


def _split(inputs: Sequence[Tensor], seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Share the inputs of each batch out to those for learning and those that are held out."""
    count = sum(map(len, inputs))
    if count < 2 * _HELD_OUT:
        raise ModelError(f"the batches hold {count} inputs; give at least {2 * _HELD_OUT}, better a few hundred")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(count, dtype=torch.bool)
    held[order[: count // _HELD_OUT]] = True
    learning, held_out = [], []
    for batch, mask in zip(inputs, held.split([len(one) for one in inputs]), strict=True):
        learning.append(batch[(~mask).to(batch.device)])
        held_out.append(batch[mask.to(batch.device)])
    return [one for one in learning if len(one)], [one for one in held_out if len(one)]


def _parts_of(plain: Fit) -> dict[str, LinearParts]:
    parts, rows = {}, slice(0, 0)
    for layer in plain.bank:
        rows = slice(rows.stop, rows.stop + len(layer))
        parts[layer.name] = linear_parts(plain, rows, layer)
    return parts


class _Walk:
    """All batches in the original and in the changed network, on their way from layer to layer.

    Parameters
    ----------
    module : nn.Module
    plain : Fit
    batches : sequence of Tensor
    few : Tensor
        Some inputs, with which the way through the network is found.
    """

    def __init__(self, module: nn.Module, plain: Fit, batches: Sequence[Tensor], few: Tensor) -> None:
        opened = open_module(module)
        self._original, (self._changed, self._layers) = copy_of(module), copied(module, plain.bank)
        for one in (self._original, self._changed):
            one.eval().requires_grad_(False)
        self._sources = depthwise_layers(self._original, opened)
        self._twins = [_Twin.of(self._original, self._changed, batch) for batch in batches]
        self._few, self._from_start = (_Twin.of(self._original, self._changed, few) for _ in range(2))
        self._suspends = True
        self.order = call_order(self._original, few, self._sources)

    def write(self, name: str, parts: LinearParts, weights: Tensor) -> None:
        """Give a layer of the changed network the filters of some weights."""
        _write(self._layers[name], name, parts, weights)

    def stretch_from(self, name: str) -> "_Stretch | None":
        """Go on to a layer, and return the stretch to the next one; None if the layer is not called just once."""
        calls, end = next_layer(self._from_start.original, self._sources[name], self._sources)
        if calls != 1 or self.order.count(name) != 1:
            return None
        ends = (None, None) if end is None else (self._sources[end], self._layers[end])
        stretch = _Stretch(self._twins, self._sources[name], self._layers[name], *ends)
        if self._suspends:
            self._few.suspend_before(self._sources[name], self._layers[name])
            self._suspends = stretch.is_same(self._few, self._from_start)
        left = _BYTES
        for twin in self._twins:
            if self._suspends:
                twin.suspend_before(self._sources[name], self._layers[name])
            left -= twin.nbytes
            if not self._suspends or left < 0:
                twin.restart()
        return stretch


@dataclass(frozen=True, eq=False)
class _Twin:
    """One batch in the original and in the changed network."""

    original: SuspendedRun
    changed: SuspendedRun

    @classmethod
    def of(cls, original: nn.Module, changed: nn.Module, batch: Tensor) -> "_Twin":
        return cls(SuspendedRun(original, batch), SuspendedRun(changed, batch))

    @property
    def nbytes(self) -> int:
        return self.original.nbytes + self.changed.nbytes

    def suspend_before(self, source: Convolution, layer: Convolution) -> None:
        self.original.suspend_before(source)
        self.changed.suspend_before(layer)

    def restart(self) -> None:
        self.original.restart()
        self.changed.restart()


def _write(layer: Convolution, name: str, parts: LinearParts, weights: Tensor) -> None:
    """Give a layer the filters of some weights; a filter without a model stays."""
    weight = make_plain(layer, name)
    modelled = parts.parts.flatten(1).ne(0).any(1)
    filters = torch.einsum("fp,fp...->f...", weights, parts.parts)
    with torch.no_grad():
        weight[modelled] = filters[modelled, None].to(weight)


@dataclass(frozen=True, eq=False)
class _Stretch:
    """A layer in the original and in the changed network, and where both are compared."""

    twins: Sequence[_Twin]
    source: Convolution
    layer: Convolution
    source_end: Convolution | None
    layer_end: Convolution | None

    def target(self, twin: _Twin) -> Tensor:
        """Return what the end sees in the original network."""
        return run_between(twin.original, self.source, self.source_end, gradients=False).target

    def passage(self, twin: _Twin, *, gradients: bool) -> Passage:
        """Return what the changed network makes of a batch."""
        return run_between(twin.changed, self.layer, self.layer_end, gradients=gradients)

    def passages(self, twins: Sequence[_Twin]) -> Iterator[tuple[Passage, Tensor]]:
        """Give what the changed network makes of each batch, with gradients, and what it should make of it."""
        for twin in twins:
            yield self.passage(twin, gradients=True), self.target(twin)

    def error(self, twins: Sequence[_Twin], targets: Sequence[Tensor]) -> float:
        """Return the squared difference between both networks at the end."""
        return sum(
            float((self.passage(twin, gradients=False).target - target).double().square().sum())
            for twin, target in zip(twins, targets, strict=True)
        )

    def is_same(self, one: _Twin, other: _Twin) -> bool:
        """Tell whether two runs of a batch come to the same in both networks, and with the same gradients."""
        passages = self.passage(one, gradients=True), self.passage(other, gradients=True)
        slopes = map(_slope, passages)
        pairs = (map(self.target, (one, other)), (passage.target for passage in passages), slopes)
        return all(bool((found - known).abs().max() <= _SAME * known.abs().max()) for found, known in pairs)


def _slope(passage: Passage) -> Tensor:
    """Return the gradient of the sum of the target; zeros where no way leads there."""
    if not passage.target.requires_grad:
        return torch.zeros_like(passage.outputs)
    return torch.autograd.grad(passage.target.sum(), passage.outputs)[0]


def _improved(stretch: _Stretch, parts: LinearParts, learning: int, seed: int) -> Float[Tensor, "filters parts"]:
    """Return the weights after the step that helps the held-out inputs most, or as they are."""
    learners, held_out = stretch.twins[:learning], stretch.twins[learning:]
    targets = [stretch.target(twin) for twin in held_out]
    best, weights = stretch.error(held_out, targets), parts.weights
    count = sum(len(twin.original.batch) for twin in learners)
    for group in _groups(parts):
        steps = quadratic(stretch.passages(learners), count, parts.parts, group, seed).steps(_DAMPING)
        before = weights
        for step in steps:
            tried = before.clone()
            tried[group] += step.to(tried)
            _write(stretch.layer, "", parts, tried)
            error = stretch.error(held_out, targets)
            if error < best:
                best, weights = error, tried
        _write(stretch.layer, "", parts, weights)
    return weights


def _groups(parts: LinearParts) -> list[Tensor]:
    """Split the modelled filters so that the unknowns of each group can be solved for together."""
    modelled = parts.parts.flatten(1).ne(0).any(1).nonzero()[:, 0]
    return list(modelled.split(max(1, _LARGEST // parts.parts.shape[1]))) if len(modelled) else []
