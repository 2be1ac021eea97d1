"""Models of filters fitted inside their network: layer by layer, each making up for what those before it changed."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters.choice import matching_layers
from scalekeys.fitting import Fit
from scalekeys.networks.changing.gauss_newton import damped_steps, quadratic
from scalekeys.networks.changing.keeping import PATCHES, Keep, at_once, response_fit, with_unseen
from scalekeys.networks.changing.linear_parts import LinearParts, linear_parts, with_weights
from scalekeys.networks.changing.stretches import Stretch, Walk
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.running.batches import Batches, inputs_of, with_gradients
from scalekeys.networks.running.memory_layout import fastest_layout

_HELD_OUT = 5  # one input in this many decides how far to go
_DAMPING = (0.3, 1.0, 3.0)
_LARGEST = 8_192  # unknowns that are solved for together


@with_gradients()
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

    A layer that is called more than once keeps its plain fit, and so does a layer that the output of the network (the
    first of several) does not depend on, as that of an auxiliary output. A layer that is never called is fitted to the
    responses to natural images.

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
    bank = opened.bank()
    covariance = with_unseen(patch_covariance(network, inputs, patches=PATCHES), bank)
    plain = response_fit(bank, model, covariance, keep)
    parts = {layer.name: linear_parts(plain, rows, layer) for layer, rows in plain.bank.parts()}
    weights = {}
    wanted = [name for name, mine in zip(parts, matching_layers(plain.bank, layers), strict=True) if mine]
    walk = Walk(network, plain.bank, wanted, [*learning, *held_out])
    for name in walk.order:
        _write(walk.kernels[name], parts[name], parts[name].weights)

        def improved(name: str = name) -> dict[str, Tensor]:
            stretch = walk.stretch_from(name)
            return {} if stretch is None else {"weights": _improved(walk, stretch, parts[name], len(learning), seed)}

        found = keep(f"layer {name}", improved)
        if "weights" in found:
            weights[name] = found["weights"]
            _write(walk.kernels[name], parts[name], weights[name])
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


@torch.no_grad()
def _write(kernels: nn.Parameter, parts: LinearParts, weights: Tensor) -> None:
    """Give a layer the filters of some weights; a filter without a model stays."""
    filters = torch.einsum("fp,fp...->f...", weights, parts.parts)
    kernels[parts.modelled] = filters[parts.modelled, None].to(kernels)


def _improved(
    walk: Walk, stretch: Stretch, parts: LinearParts, learning: int, seed: int
) -> Float[Tensor, "filters parts"]:
    """Return the weights after the step that helps the held-out inputs most, or as they are."""
    learners, held_out = walk.twins[:learning], walk.twins[learning:]
    kernels = walk.kernels[stretch.name]
    targets = [stretch.target(twin) for twin in held_out]
    best, weights = stretch.error(held_out, targets), parts.weights
    count = sum(len(twin.original.batch) for twin in learners)
    for group in _groups(parts):
        rows, slope = quadratic(stretch.passages(learners), count, parts.parts, group, seed)
        before = weights
        for step in damped_steps(rows, slope, _DAMPING):
            tried = before.clone()
            tried[group] += step.to(tried)
            _write(kernels, parts, tried)
            error = stretch.error(held_out, targets)
            if error < best:
                best, weights = error, tried
        _write(kernels, parts, weights)
    return weights


def _groups(parts: LinearParts) -> list[Tensor]:
    """Split the modelled filters so that the unknowns of each group can be solved for together."""
    modelled = parts.modelled.nonzero()[:, 0]
    return list(modelled.split(max(1, _LARGEST // parts.parts.shape[1]))) if len(modelled) else []
