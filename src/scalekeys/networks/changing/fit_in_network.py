"""Models of filters fitted inside their network: layer by layer, each making up for what those before it changed."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters.choice import matching_layers
from scalekeys.fitting import Fit, fit
from scalekeys.networks.changing.linear_parts import LinearParts, linear_parts, with_weights
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.running.batches import Batches, inputs_of
from scalekeys.networks.running.depthwise_layers import Convolution, copied, depthwise_layers, make_plain
from scalekeys.networks.running.partial_run import Passage, call_order, next_layer, run_between
from scalekeys.threads import one_thread

_HELD_OUT = 5  # one input in this many decides how far to go
_DAMPING = (0.3, 1.0, 3.0)
_SAMPLES = 8_000  # places in maps of one layer from which the curvature is estimated
_LARGEST = 4_096  # unknowns that are solved for together
_RIDGE = 1e-6


def fit_in_network(
    module: nn.Module,
    batches: Batches,
    model: str | Sequence[str] = "sparse6",
    *,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Fit:
    r"""Fit the depthwise filters of a network for what the network does with them, one layer after another.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is.
    batches : iterable
        Batches of inputs as the network takes them, preprocessed, in any form that data loaders give; labels are not
        looked at. A few hundred images are enough. They are kept in memory, with the maps of one layer at a time.
    model : str or sequence of str
        See :func:`scalekeys.fit`.
    layers : sequence of str, optional
        Only the layers of these names, in which ``*`` stands for anything; by default all. Replace the same ones.
    seed : int
        Of the choice of inputs and places.
    progress : callable, optional
        Called with 1 after each layer.

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
    network = unwrapped(module)
    inputs = [one for one in inputs_of(batches, network) if len(one)]
    learning, held_out = _split(inputs, seed)
    covariance = patch_covariance(module, inputs)
    plain = fit(opened.bank(), model, criterion="response", covariance=covariance)
    with one_thread():  # most passes are short, and the other operations are shorter
        original, (changed, found) = deepcopy(network), copied(module, plain.bank)
        for one in (original, changed):
            one.eval().requires_grad_(False)
        sources = depthwise_layers(original, opened)
        wanted = dict(zip(found, matching_layers(plain.bank, layers), strict=True))
        parts, weights = _parts_of(plain), {}
        order = call_order(original, learning[0], sources)
        for name in dict.fromkeys(order):
            if not wanted[name]:
                continue
            _write(found[name], name, parts[name], parts[name].weights)
            calls, end = next_layer(original, learning[0], sources[name], sources)
            if calls == 1 and order.count(name) == 1:
                stretch = _Stretch.between(original, changed, sources, found, name, end)
                weights[name] = _improved(stretch, parts[name], learning, held_out, seed)
                _write(found[name], name, parts[name], weights[name])
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

    original: nn.Module
    changed: nn.Module
    source: Convolution
    layer: Convolution
    source_end: Convolution | None
    layer_end: Convolution | None

    @classmethod
    def between(
        cls,
        original: nn.Module,
        changed: nn.Module,
        sources: Mapping[str, Convolution],
        found: Mapping[str, Convolution],
        name: str,
        end: str | None,
    ) -> "_Stretch":
        ends = (None, None) if end is None else (sources[end], found[end])
        return cls(original, changed, sources[name], found[name], *ends)

    def target(self, batch: Tensor) -> Tensor:
        """Return what the end sees in the original network."""
        return run_between(self.original, batch, self.source, self.source_end, gradients=False).target

    def passage(self, batch: Tensor, *, gradients: bool) -> Passage:
        """Return what the changed network makes of a batch."""
        return run_between(self.changed, batch, self.layer, self.layer_end, gradients=gradients)

    def error(self, batches: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Return the squared difference between both networks at the end."""
        return sum(
            float((self.passage(batch, gradients=False).target - target).double().square().sum())
            for batch, target in zip(batches, targets, strict=True)
        )


def _improved(
    stretch: _Stretch, parts: LinearParts, learning: Sequence[Tensor], held_out: Sequence[Tensor], seed: int
) -> Float[Tensor, "filters parts"]:
    """Return the weights after the step that helps the held-out inputs most, or as they are."""
    targets = [stretch.target(batch) for batch in held_out]
    best, weights = stretch.error(held_out, targets), parts.weights
    for group in _groups(parts):
        curvature, slope = _normal_equations(stretch, parts, group, learning, seed)
        before = weights
        for damping in _DAMPING:
            step = _step(curvature, slope, damping, group)
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


def _normal_equations(
    stretch: _Stretch, parts: LinearParts, group: Tensor, batches: Sequence[Tensor], seed: int
) -> tuple[Tensor, Tensor]:
    """Return curvature and slope of the squared difference in the weights of some filters."""
    unknowns = len(group) * parts.parts.shape[1]
    generator = torch.Generator().manual_seed(seed)
    curvature = torch.zeros(unknowns, unknowns, device=parts.parts.device)
    slope = torch.zeros(unknowns, dtype=torch.float64, device=parts.parts.device)
    count = sum(map(len, batches))
    for batch in batches:
        passage = stretch.passage(batch, gradients=True)
        responses = _responses(stretch.layer, passage, parts, group)  # (inputs, filters, parts, places)
        left = stretch.target(batch) - passage.target.detach()
        (descent,) = torch.autograd.grad(passage.target, passage.outputs, left, retain_graph=True)
        slope += (descent[:, group].flatten(2)[:, :, None] * responses).sum((0, 3)).flatten().double()
        signs = torch.randint(0, 2, passage.target.shape, generator=generator).to(passage.target) * 2 - 1
        (sensed,) = torch.autograd.grad(passage.target, passage.outputs, signs)
        wanted = max(1, _SAMPLES * len(batch) // count)
        rows, share = _sampled(responses * sensed[:, group].flatten(2)[:, :, None], wanted, generator)
        curvature.addmm_(rows.mT, rows, alpha=share)
    return curvature, slope


def _responses(layer: Convolution, passage: Passage, parts: LinearParts, group: Tensor) -> Tensor:
    """Return what each part of some filters answers to the inputs of the layer."""
    kernels = torch.zeros_like(layer.weight)
    none = {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}
    answers = []
    with torch.no_grad():
        for part in parts.parts.unbind(1):
            kernels[group, 0] = part[group].to(kernels)
            answers.append(functional_call(layer, {"weight": kernels, **none}, (passage.inputs,))[:, group].flatten(2))
    return torch.stack(answers, dim=2)


def _sampled(values: Tensor, wanted: int, generator: torch.Generator) -> tuple[Tensor, float]:
    """Take some places of maps (inputs, filters, parts, places) as rows; return also for how many each stands."""
    inputs, places = len(values), values.shape[-1]
    count = min(wanted, inputs * places)
    index = torch.randperm(inputs * places, generator=generator)[:count].to(values.device)
    rows = values[index // places, :, :, index % places].flatten(1)
    return rows.float(), inputs * places / count


def _step(curvature: Tensor, slope: Tensor, damping: float, group: Tensor) -> Tensor:
    """Solve for the change of the weights, shape (filters, parts), held back by each filter's own curvature."""
    matrix = curvature.double()
    parts = len(slope) // len(group)
    own = torch.zeros_like(matrix)
    each = torch.arange(len(group), device=matrix.device)
    blocks, whole = own.view(len(group), parts, len(group), parts), matrix.view(len(group), parts, len(group), parts)
    blocks[each, :, each] = whole[each, :, each]
    matrix = matrix + damping * own
    diagonal = matrix.diagonal()
    ridge = _RIDGE * (diagonal + diagonal.mean()).clamp(min=torch.finfo(torch.float64).tiny)
    solved: Tensor = torch.linalg.solve(matrix + torch.diag(ridge), slope)
    return solved.view(len(group), parts)
