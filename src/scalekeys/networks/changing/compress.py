"""Networks whose depthwise filters cost as few numbers as their accuracy allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank, Replacement, assign_keys, replacement
from scalekeys.filters.budget import within_budget
from scalekeys.filters.choice import matching_layers, several
from scalekeys.filters.replacement import taps_of
from scalekeys.fitting import PatchCovariance
from scalekeys.fitting.spec import parse_spec
from scalekeys.networks.changing.keeping import PATCHES, Keep, at_once, response_fit, with_unseen
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.replace import replace
from scalekeys.networks.measuring.evaluation import Evaluation, evaluate
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.measuring.sensitivity import sensitivity
from scalekeys.networks.running.batches import Batches, inputs_of, labelled_inputs_of
from scalekeys.networks.running.memory_layout import fastest_layout

KEYS = "keys"
CANDIDATES = (
    *(KEYS, "ideal", "jet1", "jet2", "jet3"),
    *("sparse2", "sparse4", "sparse6", "sparse8", "sparse11", "sparse15", "sparse20"),
)
"""The models that compete for each filter beside itself."""

HALVINGS = 6
"""So often the range of shares is halved where the least one within a tolerance is looked for."""


@dataclass(frozen=True, eq=False)
class Compression:
    """A network with fewer depthwise numbers.

    Parameters
    ----------
    module : nn.Module
        Replaced and recalibrated.
    chosen : Replacement
        What takes the place of each filter.
    share : float
        Numbers by parameters, in the layers in question.
    before, after : Evaluation or None
        On the batches, where a tolerance was given.
    """

    module: nn.Module
    chosen: Replacement
    share: float
    before: Evaluation | None = None
    after: Evaluation | None = None

    def __repr__(self) -> str:
        change = "" if self.before is None or self.after is None else f", {self.after.difference(self.before)}"
        return f"Compression({100 * self.share:.1f} % of the depthwise parameters{change})"


def compress(
    module: nn.Module,
    batches: Batches,
    *,
    budget: float | None = None,
    tolerance: float | None = None,
    models: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    keep: Keep = at_once,
) -> Compression:
    """Replace each depthwise filter by the model that is worth its numbers, within a budget or a tolerance.

    Parameters
    ----------
    module : nn.Module
        A classifier; it stays as it is.
    batches : iterable
        Batches of preprocessed inputs, in any form that data loaders give, with labels for a tolerance. A few hundred
        images are enough; they are kept in memory.
    budget : float, optional
        How many numbers the filters may take, as a share of their parameters.
    tolerance : float, optional
        Points of top-1 accuracy that may be lost on these inputs; the smallest budget that keeps to it is looked for.
        Accuracy on inputs that a network was fitted to flatters it: leave a margin, and measure on others.
    models : sequence of str, optional
        What competes for each filter beside itself: ``"keys"``, which have two axes, and what :func:`scalekeys.fit`
        takes. By default :data:`CANDIDATES`, without the keys if any kernel has another number of axes.
    layers : sequence of str, optional
        Only in the layers of these names, in which ``*`` stands for anything; by default in all.
    seed : int
        Of the random classes, see :func:`scalekeys.networks.measuring.sensitivity.sensitivity`.
    progress : callable, optional
        Called with what is done next.
    keep : callable
        Keeps the models of each kind as soon as they are fitted; see :mod:`scalekeys.networks.changing.keeping`.

    Returns
    -------
    Compression

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If not one of budget and tolerance is given, or either makes no sense, or no budget keeps to the tolerance.
    FilterError
        If no layer has such a name, or the budget is less than the models need.

    Notes
    -----
    Each model is fitted to responses. It costs a filter the variance of the difference of its answers, weighted by how
    much the outputs of the network depend on them; :func:`scalekeys.filters.budget.within_budget` shares the numbers
    out. The network is recalibrated with the original one as its reference. Filters that no input reaches cost nothing,
    and are modelled with as few numbers as possible.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, groups=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> images = torch.randn(20, 3, 9, 9, generator=generator)
    >>> compress(network, images, budget=0.4, models=["jet1", "sparse6"]).share <= 0.4
    True
    """
    check_aim(budget, tolerance)
    labelled = None if tolerance is None else list(labelled_inputs_of(batches, module))
    inputs = batches if labelled is None else [one for one, _ in labelled]
    compressor = Compressor(module, inputs, models=models, layers=layers, seed=seed, progress=progress, keep=keep)
    if budget is not None:
        return compressor.within(budget)
    assert labelled is not None
    assert tolerance is not None
    return _within_tolerance(compressor, labelled, tolerance)


class Compressor:
    """A network with the models of its filters and what each of them costs, ready to be compressed to any budget.

    Parameters are those of :func:`compress`.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        *,
        models: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
        keep: Keep = at_once,
    ) -> None:
        self._say = progress or (lambda _: None)
        self.module, self._inputs = module, list(inputs_of(batches, module))
        bank = open_module(module).bank()
        chosen = zip(bank, matching_layers(bank, layers), strict=True)
        self._whole = sum(layer.kernels.numel() for layer, mine in chosen if mine)
        names = candidates_for(bank) if models is None else several(models)
        if not names:
            raise ModelError("models is empty; name at least one, or leave it out for all")
        for name in names:
            if name != KEYS:  # refuse an unknown model before others are fitted
                parse_spec(name, {layer.axes for layer in bank}, criterion="response")
        watched, inputs = fastest_layout(module, self._inputs)
        self._say("measuring what filters see")
        covariance = with_unseen(patch_covariance(watched, inputs, patches=PATCHES), bank)
        self._say("measuring what depends on them")
        weights = sensitivity(watched, inputs, seed=seed)
        self._candidates, self._losses = [], []
        for name in names:
            self._say(f"modelling by {name}")
            modelled = assign_keys(bank) if name == KEYS else response_fit(bank, name, covariance, keep)
            self._candidates.append(replacement(modelled, layers=layers))
            self._losses.append(_loss(self._candidates[-1], covariance, weights))
        self._outside = int(taps_of(bank).sum()) - self._whole

    @property
    def fewest(self) -> float:
        """The smallest share of the parameters with which the models do."""
        fewest = int(torch.stack([one.numbers for one in self._candidates]).amin(0).sum()) - self._outside
        return fewest / self._whole

    def within(self, budget: float) -> Compression:
        """Compress to a share of the parameters of the layers in question."""
        self._say(f"trying {100 * budget:.1f} % of the parameters")
        chosen = within_budget(self._candidates, self._losses, self._outside + int(budget * self._whole))
        network = recalibrate(replace(self.module, chosen), self._inputs, reference=self.module)
        return Compression(network, chosen, (int(chosen.numbers.sum()) - self._outside) / self._whole)


def check_aim(budget: float | None, tolerance: float | None) -> None:
    """Refuse both or neither of a budget and a tolerance, or one that makes no sense."""
    if (budget is None) == (tolerance is None):
        raise ModelError("give either a budget, a share of the parameters, or a tolerance in points of accuracy")
    if budget is not None and not 0 < budget <= 1:
        raise ModelError(f"budget is a share of the depthwise parameters, above 0 and at most 1, got {budget}")
    if tolerance is not None and not tolerance >= 0:
        raise ModelError(f"tolerance is in points of top-1 accuracy and not negative, got {tolerance}")


def candidates_for(bank: FilterBank) -> Sequence[str]:
    """Return the models that compete for filters with any number of axes."""
    planar = all(len(layer.size) == 2 for layer in bank)
    return CANDIDATES if planar else [name for name in CANDIDATES if name != KEYS]


def _loss(candidate: Replacement, covariance: PatchCovariance, weights: dict[str, Tensor]) -> Tensor:
    """Return what a candidate costs each filter: the weighted variance of the difference of its answers."""
    losses = []
    for layer, model in zip(candidate.bank, candidate.filters, strict=True):
        residual = (layer.kernels - model.kernels).detach().cpu().double().flatten(1)
        variance = (residual[:, None] @ covariance.layers[layer.name] @ residual[..., None])[:, 0, 0]
        losses.append(variance * weights[layer.name])
    return torch.cat(losses)


def _within_tolerance(compressor: Compressor, labelled: Batches, tolerance: float) -> Compression:
    """Look for the smallest share that loses no more than the tolerance, by halving."""
    before = evaluate(compressor.module, labelled)
    low, high, best = compressor.fewest, 1.0, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = compressor.within(middle)
        after = evaluate(found.module, labelled)
        if 100 * (before.top1 - after.top1) <= tolerance:
            high, best = middle, Compression(found.module, found.chosen, found.share, before, after)
        else:
            low = middle
    if best is None:
        raise ModelError(
            f"more than {tolerance} points of top-1 accuracy are lost even with {100 * high:.0f} % of the parameters; "
            "raise the tolerance, give more inputs, or keep some layers"
        )
    return best
