"""A network with images: what its filters see, which of them nothing moves, and what a change of it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.fitting import PatchCovariance
from scalekeys.networks import Evaluation, evaluate, patch_covariance
from scalekeys.networks.pruning.dead_filters import DeadFilter, dead_filters
from scalekeys.networks.running.batches import Batches, Labelled, inputs_of, labelled_inputs_of

LEAST_IMAGES = 20
"""How many images tell something: half of them serve to match statistics, the other half to measure."""

_SEEN = 64
"""Inputs that are enough for covariances: each shows a filter hundreds of patches."""


@dataclass(frozen=True, eq=False)
class Responses:
    """A network that runs, and what goes into it."""

    network: nn.Module
    learning: tuple[Tensor, ...]
    """Batches on which a changed network is matched to this one: every second input."""
    measuring: tuple[Tensor, ...] | tuple[Labelled, ...]
    """Batches of the other inputs, with their labels if there are any, on which both are compared."""
    labelled: bool

    @classmethod
    def of(cls, network: nn.Module, batches: Batches, *, labelled: bool) -> "Responses":
        """Share the inputs of each batch out to both halves.

        Raises
        ------
        ModelError
            If there are fewer than :data:`LEAST_IMAGES` inputs, or labels are wanted and missing.
        """
        found: Sequence[Tensor | Labelled] = (
            list(labelled_inputs_of(batches, network)) if labelled else list(inputs_of(batches, network))
        )
        inputs = [one if isinstance(one, Tensor) else one[0] for one in found]
        if (count := sum(map(len, inputs))) < LEAST_IMAGES:
            raise ModelError(f"a check-up by images needs at least {LEAST_IMAGES} of them, got {count}")
        learning = tuple(batch[::2] for batch in inputs)
        if not labelled:
            return cls(network, learning, tuple(batch[1::2] for batch in inputs if len(batch) > 1), labelled)
        pairs = [one for one in found if not isinstance(one, Tensor)]
        return cls(network, learning, tuple((x[1::2], y[1::2]) for x, y in pairs if len(x) > 1), labelled)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All batches of inputs, without labels."""
        return self.learning + tuple(one if isinstance(one, Tensor) else one[0] for one in self.measuring)

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return sum(map(len, self.inputs))

    @cached_property
    def covariance(self) -> PatchCovariance:
        """What the filters see, on some of the inputs."""
        step = max(1, self.count // (2 * _SEEN))
        return patch_covariance(self.network, [batch[::step] for batch in self.learning])

    @cached_property
    def dead(self) -> tuple[DeadFilter, ...]:
        """The filters from which nothing but a constant comes, by their weights or because no input moves them."""
        return tuple(dead_filters(unwrapped(self.network), open_module(self.network), self.inputs))

    def unmoved(self, layer: str, channels: int) -> np.ndarray:
        """Return which filters of a layer no input moves although their weights are not negligible; (channels,)."""
        found = np.zeros(channels, dtype=bool)
        found[[one.channel for one in self.dead if one.layer == layer and one.kind == "unmoved"]] = True
        return found

    @cached_property
    def before(self) -> Evaluation | None:
        """The accuracy of the network on the inputs for measuring, if these have labels."""
        return evaluate(self.network, self.measuring) if self.labelled else None
