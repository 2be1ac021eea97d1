"""Depthwise layers computed axis by axis, where that is faster and loses little."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank
from scalekeys.filters.choice import matching_layers
from scalekeys.filters.replacement import Modelled
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.replace import replace
from scalekeys.networks.changing.separate.plan import TOLERANCE, Candidate, Goal, Plan, fault_of, loosest, planned
from scalekeys.networks.changing.separate.separable_conv import SeparableConv, products
from scalekeys.networks.changing.separate.separation import SeparatedLayer, Separation
from scalekeys.networks.changing.separate.timing import Ready, Stopwatch, Times, calls_of
from scalekeys.networks.constrained.filters_together import release
from scalekeys.networks.measuring.evaluation import evaluate
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.measuring.same_outputs import difference, multiplications
from scalekeys.networks.running.batches import Batches, inputs_of, labelled_inputs_of
from scalekeys.networks.running.depthwise_layers import Convolution, copied, depthwise_layers, make_plain, write

_LARGEST_COVARIANCE = 2**28
"""Bytes: of a layer that would need more, what it sees is not measured."""

_ROUNDING = 1e-3, 30
"""By how much of the largest output, and by how many units in the last place, outputs may differ."""


def separate(
    module: nn.Module,
    example: Tensor | None = None,
    *,
    batches: Batches | None = None,
    rank: int | None = None,
    tolerance: float | None = None,
    accuracy: float | None = None,
    time: float | None = None,
    runtime: str | None = "torch",
    layers: Sequence[str] | None = None,
    fit: Modelled | None = None,
) -> Separation:
    """Compute depthwise layers as sums of outer products, axis by axis, where that is faster and loses little.

    A kernel of k x k becomes the sum of r pairs of k x 1 and 1 x k, which multiply 2 r k times for each output and not
    k^2 times; a kernel of three axes becomes triples.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.
    example : Tensor, optional
        A batch of inputs of the shape, the memory format and the number that the network is going to be used with: for
        these the times are measured. By default the first input of the batches.
    batches : iterable, optional
        A few hundred preprocessed inputs, in any form that data loaders give, with labels for `accuracy`. With them the
        outer products are fitted to responses, and the statistics of the network are matched to those of `module`:
        :func:`scalekeys.recalibrate`.
    rank : int, optional
        The number of outer products for each kernel.
    tolerance : float, optional
        Instead: the fewest outer products with which a layer loses no more than this share of the variance of its
        responses, or of its energy without batches. This is the default, with ``plan.TOLERANCE``.
    accuracy : float, optional
        Instead: the largest tolerance with which the network loses no more than so many points of top-1 accuracy on the
        batches. Accuracy on inputs that a network was fitted to flatters the network: measure on others.
    time : float, optional
        Instead: the smallest tolerance with which the network takes no more than this share of its time.
    runtime : {"torch", "compile", "onnxruntime"} or None
        Where the network is going to run: PyTorch, ``torch.compile`` or onnxruntime. A layer is separated only if it
        takes at most 0.95 of its time there, on one thread of this machine, and the network as a whole is faster. None:
        no times are measured, and a layer is separated if it then multiplies less often.
    layers : sequence of str, optional
        Only the layers of these names, in which ``*`` stands for anything.
    fit : Fit, KeyAssignment or Replacement, optional
        Models of the filters of the network, which take their place first, see :func:`scalekeys.replace`. Idealized
        receptive fields are outer products along the axes, or few of them, so that no more is lost.

    Returns
    -------
    Separation
        With the network, what was separated, and why other layers were not. :func:`scalekeys.load_separated` loads the
        state dict of this network.

    Raises
    ------
    CheckpointError
        If the network cannot be read, or has no depthwise layers.
    FilterError
        If no layer has such a name.
    ModelError
        If the goal, the runtime or the inputs make no sense, the network does not run, or the time cannot be reached.
    OutputError
        If the network cannot be exported, for onnxruntime.
    MissingExtraError
        If onnxruntime or onnx is not installed.

    Notes
    -----
    Times of layers are kept in the cache folder of the user (``$XDG_CACHE_HOME/scalekeys``) by runtime, version,
    machine and shape, so that the second call is fast. Layers that share a weight get outer products of their own.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> found = separate(network, torch.randn(1, 3, 16, 16, generator=generator), rank=2, runtime=None)
    >>> found
    Separation(1 7x7 by 2: 392 depthwise weights to 224)
    >>> found.module[1]
    SeparableConv(7x7 as 2 terms)
    >>> found.multiplications
    (106496, 63488)
    """
    default = rank is tolerance is accuracy is time is None
    goal = Goal(rank, TOLERANCE if default else tolerance, accuracy, time)
    labelled = inputs = None
    if accuracy is not None:
        if batches is None:
            raise ModelError("accuracy is measured on batches with labels; give batches")
        labelled = list(labelled_inputs_of(batches, module))
        inputs = [one for one, _ in labelled]
    elif batches is not None:
        inputs = list(inputs_of(batches, module))
    if example is None and inputs:
        example = inputs[0][:1]
    separator = Separator(module, example, inputs, None if runtime is None else Stopwatch(runtime), layers, fit)
    if accuracy is not None:
        assert labelled is not None
        before, points = evaluate(module, labelled).top1, accuracy

        def accurate(tried: float) -> bool:
            network = separator.built(planned(separator.candidates, goal, tried)[0])[1]
            return 100 * (before - evaluate(network, labelled).top1) <= points

        return separator.separation(goal, loosest(accurate))
    if goal.time is not None:
        return separator.separation(goal, separator.tolerance_for(goal))
    return separator.separation(goal, goal.tolerance)


class Separator:
    """A network with everything that is needed to separate its layers to any goal.

    Parameters are those of :func:`separate`.
    """

    def __init__(
        self,
        module: nn.Module,
        example: Tensor | None,
        inputs: Sequence[Tensor] | None,
        stopwatch: Stopwatch | None,
        layers: Sequence[str] | None,
        fit: Modelled | None,
    ) -> None:
        if stopwatch is not None and example is None:
            raise ModelError("times are measured on an example; give a batch of inputs, or runtime=None for no times")
        self.module, self._inputs, self._stopwatch = module, inputs, stopwatch
        opened = open_module(module)
        opened.bank()  # refuses what has no depthwise layers
        own = depthwise_layers(module, opened)
        self._example = None if example is None else next(inputs_of(example, module))
        called = None if self._example is None else calls_of(unwrapped(module), own, self._example)
        self._base = module if fit is None else replace(module, fit, layers=layers)
        self._bank = open_module(self._base).bank()
        chosen = [one for one, mine in zip(self._bank, matching_layers(self._bank, layers), strict=True) if mine]
        calls = {one.name: None if called is None else called.get(one.name, {}) for one in chosen}
        faults = {one.name: fault_of(one, own[one.name], calls[one.name]) for one in chosen}
        self.left = {name: fault for name, fault in faults.items() if fault is not None}
        able = [one for one in chosen if one.name not in self.left]
        seen = self._seen(FilterBank(tuple(able)))
        self.candidates = [
            Candidate(one, own[one.name], seen.get(one.name), stopwatch, calls[one.name] or {}) for one in able
        ]

    def _seen(self, bank: FilterBank) -> Mapping[str, Tensor]:
        """Measure what layers see, where there are inputs and room."""
        names = [one.name for one in bank if 8 * len(one) * one.kernels[0].numel() ** 2 <= _LARGEST_COVARIANCE]
        if self._inputs is None or not names:
            return {}
        return patch_covariance(self.module, self._inputs, layers=names).layers

    def tolerance_for(self, goal: Goal) -> float:
        """Return the smallest tolerance with which the times of the layers add up to a share of the present time."""
        stopwatch, share = self._stopwatch, goal.time
        if stopwatch is None or share is None:
            raise ModelError("a share of the time is reached in a runtime; give one")
        whole = self._ready.times(self._ready).before

        def predicted(tolerance: float) -> float:
            plan, _ = planned(self.candidates, goal, tolerance)
            times = [one.times(plan[one.name].rank) for one in self.candidates if one.name in plan]
            return 1 - sum(pair[0] - pair[1] for pair in times if pair is not None) / whole

        found = loosest(lambda tolerance: predicted(tolerance) <= share, upwards=False)
        if found is None:
            raise ModelError(
                f"separable layers bring the time in {stopwatch.runtime} to {predicted(1.0):.2f} of the present one, "
                f"not to {share}; give a larger share"
            )
        return found

    def separation(self, goal: Goal, tolerance: float | None) -> Separation:
        """Separate the layers of a goal, if the network is then faster."""
        plan, left = planned(self.candidates, goal, tolerance)
        network, times = self._checked(plan)
        while times is not None and times.ratio >= 1:
            slowest = self._slower_half(plan)
            left |= dict.fromkeys(slowest, f"with it the whole network would take {times.ratio:.2f} of its time")
            plan = {name: chosen for name, chosen in plan.items() if name not in slowest}
            network, times = self._checked(plan)
        order = [one.name for one in self._bank]
        left = {name: (self.left | left)[name] for name in order if name in self.left | left}
        done = tuple(self._record(one, plan) for one in self.candidates if one.name in plan)
        before = sum(layer.kernels.numel() for layer in self._bank)
        saved = sum(one.numbers[0] - one.numbers[1] for one in done)
        counts = None
        if self._example is not None:
            original = unwrapped(self.module)
            counts = multiplications(original, self._example), multiplications(network, self._example)
        runtime = None if self._stopwatch is None else self._stopwatch.runtime
        return Separation(network, done, left, (before, before - saved), counts, runtime, times)

    def built(self, plan: Plan) -> tuple[nn.Module, nn.Module]:
        """Return the network with kernels of low rank, recalibrated, and the same computed axis by axis."""
        whole, found = copied(self._base, self._bank)
        wanted = {}
        for name, chosen in plan.items():
            weight = make_plain(found[name], name)
            kernels = products(chosen.factors).reshape(weight[:, 0].shape)
            write(weight, torch.arange(len(weight)), kernels)
            wanted[name] = kernels
        release(whole)
        if self._inputs is not None and plan:
            whole = recalibrate(whole, self._inputs, self.module)
        network, layers = copied(whole, self._bank)
        for name, chosen in plan.items():
            gain = _gain(layers[name], wanted[name])
            first, *others = chosen.factors
            network = put(network, layers[name], SeparableConv(layers[name], [first * gain[:, None, None], *others]))
        return whole, network

    def _checked(self, plan: Plan) -> tuple[nn.Module, Times | None]:
        """Return the separated network, after its outputs were compared, and its times if there are any."""
        whole, network = self.built(plan)
        if not plan or self._example is None:
            return network, None
        self._check_outputs(whole, network)
        if self._stopwatch is None:
            return network, None
        return network, self._ready.times(self._stopwatch.ready(network, self._example))

    @cached_property
    def _ready(self) -> Ready:
        assert self._stopwatch is not None
        assert self._example is not None
        return self._stopwatch.ready(unwrapped(self.module), self._example)

    def _slower_half(self, plan: Plan) -> list[str]:
        """Return the names of the layers, at least one, that gain least, by the share of their own time."""
        gains = {}
        for one in self.candidates:
            if one.name in plan:
                before, after = one.times(plan[one.name].rank) or (1.0, 1.0)
                gains[one.name] = after / before
        return sorted(gains, key=gains.__getitem__, reverse=True)[: (len(gains) + 1) // 2]

    def _check_outputs(self, whole: nn.Module, network: nn.Module) -> None:
        assert self._example is not None
        least, units = _ROUNDING
        found = difference(whole, network, self._example)
        if not found <= max(least, units * torch.finfo(self._example.dtype).eps):
            raise ModelError(
                f"the network {type(unwrapped(self.module)).__name__}: its outputs with separable layers differ by "
                f"{found:.1e} of the largest one from those with the same kernels as they were; leave out the "
                "layers that it uses in another way than by calling them, with layers="
            )

    def _record(self, candidate: Candidate, plan: Plan) -> SeparatedLayer:
        chosen, filters = plan[candidate.name], candidate.filters
        times = candidate.times(chosen.rank) or (None, None)
        numbers = filters.kernels.numel(), sum(factor.numel() for factor in chosen.factors)
        return SeparatedLayer(
            candidate.name, filters.size, chosen.rank, chosen.energy, chosen.error, times[0], times[1], numbers
        )


def _gain(layer: Convolution, kernels: Tensor) -> Tensor:
    """Return by how much recalibration has multiplied each kernel."""
    now, before = layer.weight.detach()[:, 0].to(kernels).flatten(1), kernels.flatten(1)
    energy = before.square().sum(1)
    gain: Tensor = torch.where(energy > 0, (now * before).sum(1) / energy, 1.0)
    return gain


def put(network: nn.Module, layer: nn.Module, other: nn.Module) -> nn.Module:
    """Put a module in the place of a layer of a network, wherever it stands, and return the network."""
    for name, one in list(network.named_modules(remove_duplicate=False)):
        if one is layer:
            if not name:
                return other
            network.set_submodule(name, other)
    return network
