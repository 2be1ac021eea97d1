"""Keys by what a network loses: candidates are eliminated until few remain, by accuracy or by outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.clustering.elimination import CandidateErrors, Round, check_numbers, eliminate, measurements
from scalekeys.errors import ModelError
from scalekeys.filters import assign_keys
from scalekeys.filters.choice import matching_layers
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.replace import replace
from scalekeys.networks.measuring.evaluation import evaluate
from scalekeys.networks.measuring.output_error import OutputError, outputs_of
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.running.batches import Batches, as_batches, inputs_of
from scalekeys.shapes import ArrayLike, as_float_tensor

if TYPE_CHECKING:
    import pandas as pd

By: TypeAlias = Literal["accuracy", "outputs", "responses"]
Progress: TypeAlias = Callable[[int], None] | None

STATISTICS_INPUTS = 128
"""On so many inputs the channels of changed networks are matched to the original."""
_COVARIANCE_INPUTS = 64


@dataclass(frozen=True, eq=False)
class KeyElimination:
    """How candidates were eliminated.

    Parameters
    ----------
    candidates : Tensor, shape (candidates, *sides), float64
    by : {"accuracy", "outputs", "responses"}
    rounds : tuple of Round
        See :class:`scalekeys.clustering.elimination.Round`.
    measurements : int
        How often the network was run on all images.
    """

    candidates: Float[Tensor, "candidates *sides"]
    by: By
    rounds: tuple[Round, ...]
    measurements: int

    def __repr__(self) -> str:
        last = self.rounds[-1].left
        return f"KeyElimination({last} of {len(self.candidates)} candidates by {self.by}, {self.measurements} measured)"

    @property
    def order(self) -> Int[Tensor, "candidates"]:
        """Return the candidates from the one that was dropped last, after those that were never dropped."""
        dropped = [index for one in self.rounds for index in one.removed]
        kept = [index for index in range(len(self.candidates)) if index not in set(dropped)]
        return torch.tensor([*kept, *reversed(dropped)])

    def keys(self, count: int | None = None) -> Float[Tensor, "count *sides"]:
        """Return the candidates that remained when so many were left; by default those at the end.

        Raises
        ------
        ModelError
            If there were never so many.
        """
        least, most = self.rounds[-1].left, len(self.candidates)
        wanted = least if count is None else count
        if not least <= wanted <= most:
            raise ModelError(f"the elimination went from {most} candidates to {least}; it has no {wanted}")
        return self.candidates[self.order[:wanted].sort().values]

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a round: `left`, `removed` (numbers of the candidates), `loss` and `cost`."""
        import pandas as pd

        rows = [(one.left, one.removed, one.loss, one.cost) for one in self.rounds]
        return pd.DataFrame(rows, columns=["left", "removed", "loss", "cost"]).astype({"cost": "float64"})


def eliminate_keys(
    module: nn.Module,
    candidates: ArrayLike,
    batches: Batches,
    *,
    keep: int = 8,
    by: By = "accuracy",
    layers: Sequence[str] | None = None,
    tries: int = 3,
    measured: int = 32,
    progress: Progress = None,
) -> KeyElimination:
    """Find the few of many candidate keys that a network needs most: drop again and again the one that is missed least.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is.
    candidates : Tensor or array, shape (candidates, *sides)
        Filters, such as those of ``sk.cluster(bank, k=64)``. They are cropped to smaller kernels of the network, and
        surrounded with zeros for larger ones.
    batches : iterable
        Batches of images, with labels for `by` ``"accuracy"``, in any form that data loaders give. They are kept in
        memory, and gone through for each measurement. Report accuracies on other images than these.
    keep : int
        How many remain.
    by : {"accuracy", "outputs", "responses"}
        What counts as a loss: `accuracy`, the share of images that are classified wrongly; `outputs`, the squared
        change of the network's outputs, as a share of their variance over the images, for which no labels are needed;
        `responses`, the squared change of the responses of the depthwise filters, in each layer as a share of their
        energy, for which nothing is measured.
    layers : sequence of str, optional
        Replace filters only in the layers of these names, in which ``*`` stands for anything; by default in all.
    tries, measured : int
        With `measured` candidates or fewer, `tries` of them are measured for each that is dropped, those with the
        smallest response error. With more the response error decides alone.
    progress : callable, optional
        Called with 1 after each measurement; :func:`scalekeys.clustering.elimination.measurements` says how many come.

    Returns
    -------
    KeyElimination

    Raises
    ------
    ModelError
        If a number or `by` makes no sense, there are no images, or no filter can be replaced.
    FilterError
        If the candidates are no stack of finite filters, no kernel has as many axes, or no layer has such a name.

    Notes
    -----
    To measure candidates, each depthwise filter is replaced by its best candidate by the paper's rule
    (:func:`scalekeys.assign_keys`), and the mean and the variance of each channel behind the depthwise layers are
    matched to those of the network on some of the images. Nothing is trained. How few measurements suffice says
    :func:`scalekeys.clustering.elimination.eliminate`.

    References
    ----------
    Babaiee, Kiasari, Rus, Grosu, "The quest for universal master key filters in DS-CNNs", 2025, arXiv:2509.11711, find
    eight filters by an autoencoder with a latent space of one dimension and a greedy elimination by accuracy. Here
    candidates are keys that minimise a squared error, or filters.

    Examples
    --------
    Of 16 candidates, 8 of which are noise, the published keys remain for a network whose filters they are:

    >>> import scalekeys as sk
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(sk.master_keys()[:, None])
    >>> noise = torch.randn(8, 7, 7, generator=generator)
    >>> images = torch.randn(4, 3, 16, 16, generator=generator)
    >>> found = eliminate_keys(network, torch.cat([noise, sk.master_keys()]), images, by="outputs")
    >>> found
    KeyElimination(8 of 16 candidates by outputs, 22 measured)
    >>> bool((found.keys() == sk.master_keys()).all())
    True
    """
    if by not in get_args(By):
        raise ModelError(f"unknown by={by!r}; choose one of {', '.join(get_args(By))}")
    values = as_float_tensor(candidates).detach().cpu().double()
    check_numbers(len(values), keep, tries, measured)
    bank = open_module(module).bank()
    assign_keys(bank, values, axes=values.ndim - 1)  # refuses what are no keys for this network
    kept = Kept(module, batches)
    covariance = patch_covariance(module, kept.first(_COVARIANCE_INPUTS))
    chosen = {layer.name for layer, wanted in zip(bank, matching_layers(bank, layers), strict=True) if wanted}
    seen = {name: matrices for name, matrices in covariance.layers.items() if name in chosen}
    compared = CandidateErrors.of(bank, values, seen)

    first = kept.first(STATISTICS_INPUTS)

    def change(left: Sequence[int]) -> nn.Module:
        return replaced_by_keys(kept.module, values[torch.as_tensor(left)], first, layers=layers)

    measure = None if by == "responses" else _Measure(kept, by, change, progress)
    rounds = eliminate(compared, keep, measure, tries=tries, measured=measured)
    count = 0 if measure is None else measurements(len(values), keep, tries, measured)
    return KeyElimination(values, by, tuple(rounds), count)


def replaced_by_keys(
    module: nn.Module,
    keys: Float[Tensor, "keys *sides"],
    batches: Batches,
    *,
    layers: Sequence[str] | None = None,
) -> nn.Module:
    """Return a copy of a network in which its best key stands for each depthwise filter, by the paper's rule.

    The mean and the variance of each channel behind the depthwise layers are matched to those of the network on the
    first 128 of some inputs (:func:`scalekeys.recalibrate` with a reference), so that networks with batch norm and
    without it are compared alike. Nothing is trained.

    Parameters
    ----------
    module : nn.Module
    keys : Tensor, shape (keys, *sides)
    batches : iterable
    layers : sequence of str, optional
        Only in the layers of these names, in which ``*`` stands for anything; by default in all.

    Examples
    --------
    >>> import scalekeys as sk
    >>> network = nn.Sequential(nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.BatchNorm2d(8))
    >>> replaced = replaced_by_keys(network, sk.master_keys(), torch.randn(4, 8, 16, 16))
    >>> len(sk.cluster(sk.extract(replaced), k=2, controls=False).counts)
    2
    """
    assigned = assign_keys(open_module(module).bank(), keys, axes=keys.ndim - 1)
    network = replace(module, assigned, layers=layers)
    return recalibrate(network, Kept(module, batches).first(STATISTICS_INPUTS), module)


class Kept:
    """A network, unwrapped, and the batches on which it is measured, in memory."""

    def __init__(self, module: nn.Module, batches: Batches) -> None:
        self.module = unwrapped(module)
        self.batches = list(as_batches(batches))
        self.inputs = [inputs for inputs in inputs_of(self.batches, self.module) if len(inputs)]

    def first(self, count: int) -> list[Tensor]:
        """Return batches with so many of the first inputs, or with all of them."""
        taken, parts = 0, []
        for inputs in self.inputs:
            parts.append(inputs[: count - taken])
            taken += len(parts[-1])
            if taken >= count:
                break
        return parts


class _Measure:
    """What a network loses with some of the candidates."""

    def __init__(self, kept: Kept, by: By, change: Callable[[Sequence[int]], nn.Module], progress: Progress) -> None:
        self._kept, self._change, self._progress = kept, change, progress
        self._original = outputs_of(kept.module, kept.inputs) if by == "outputs" else None
        if by == "accuracy":
            evaluate(kept.module, kept.batches[:1])  # refuses batches without labels before anything is measured

    def __call__(self, left: Sequence[int]) -> float:
        network = self._change(left)
        if self._original is None:
            loss = 1 - evaluate(network, self._kept.batches).top1
        else:
            loss = OutputError.of(outputs_of(network, self._kept.inputs), self._original).value
        if self._progress is not None:
            self._progress(1)
        return loss
