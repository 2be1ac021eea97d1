"""How much the outputs of a network depend on what each depthwise filter answers."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import (
    Batches,
    inputs_of,
    logits_of,
    run_network,
    uncheckpointed,
    with_gradients,
)
from scalekeys.networks.running.depthwise_layers import copy_of, depthwise_layers
from scalekeys.networks.running.hooks import watched


@with_gradients()
def sensitivity(module: nn.Module, batches: Batches, *, seed: int = 0) -> dict[str, Float[Tensor, " channels"]]:
    r"""Measure how much a classifier's outputs change when the answers of each depthwise filter do.

    Parameters
    ----------
    module : nn.Module
        A classifier; it stays as it is.
    batches : iterable
        Batches of inputs as the network takes them, preprocessed, in any form that data loaders give; labels are not
        looked at.
    seed : int
        Of the random classes.

    Returns
    -------
    dict of str to Tensor, shape (channels,), float64
        By the names that :func:`scalekeys.extract` gives: :math:`s_c = E \sum_p g_c(p)^2`, with g the gradient of the
        log-probability of a class, drawn from what the network itself predicts, with respect to the answers at place p.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If there are no inputs, or the network does not run on them, or gives no tensor of finite outputs.

    Notes
    -----
    That is the diagonal of the Fisher information of the answers. If a filter's answers change by :math:`\delta(p)`,
    independent from place to place, the divergence of what is predicted from what was predicted grows by about
    :math:`\frac12 s_c E \delta^2`, with which the mean squared error of a filter's answers is weighted where
    numbers are shared out.

    References
    ----------
    J. Martens, "New insights and perspectives on the natural gradient method", JMLR 21(146):1-76, 2020.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = sensitivity(network, torch.randn(8, 3, 8, 8, generator=generator))
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'1': (4,)}
    """
    opened = open_module(module)
    network = copy_of(module).eval().requires_grad_(False)
    layers = depthwise_layers(network, opened)
    total = {name: torch.zeros(layer.out_channels, dtype=torch.float64) for name, layer in layers.items()}
    generator, count = torch.Generator().manual_seed(seed), 0
    for inputs in filter(len, inputs_of(batches, network)):
        outputs: list[tuple[str, Tensor]] = []
        with uncheckpointed(), watched(network, layers, partial(_note, outputs)):
            logits = logits_of(run_network(network, inputs))
        if logits is None or logits.ndim != 2:
            raise ModelError(f"{opened.label}: gives no logits, shape (inputs, classes); only classifiers have classes")
        if not logits.isfinite().all():
            raise ModelError(f"{opened.label}: its outputs are not finite; look at its weights and at the inputs")
        log_probability = logits.float().log_softmax(-1)
        drawn = torch.multinomial(log_probability.detach().exp().cpu(), 1, generator=generator).to(logits.device)
        count += len(inputs)
        if not log_probability.requires_grad:  # no answers reach the outputs
            continue
        wanted = [output for _, output in outputs]
        gradients = torch.autograd.grad(log_probability.gather(1, drawn).sum(), wanted, allow_unused=True)
        for (name, _), gradient in zip(outputs, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.double().square().transpose(0, 1).flatten(1).sum(1).cpu()
    if not count:
        raise ModelError("the batches hold no inputs; give a few hundred")
    return {name: values / count for name, values in total.items()}


def _note(outputs: list[tuple[str, Tensor]], name: str, _layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    """Let the answers of a layer take gradients, and list them."""
    tracked = output if output.requires_grad else output.requires_grad_()
    outputs.append((name, tracked))
    return tracked.clone()  # which may be changed in place
