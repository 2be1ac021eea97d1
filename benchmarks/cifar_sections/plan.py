"""Which trainings there are, and in which order they run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from scalekeys.training import recipe_file

FREE, REPLACED, MATCHED_TRAINED, SMALL = "free", "replaced", "frozen_matched_trained", "small"
SMALL_NETWORK = ("network.widths=[24, 48]", "network.depths=[1, 2]")
MAIN = ("free_torch_init", "frozen_ideal8", "frozen_matched_noise", "free_from_ideal8")
"""The conditions on which the claim rests; they run first, and in every budget."""

KEYS = ("frozen_keys", "frozen_matched_keys")
MATCHED = {
    "frozen_ideal8": "frozen_matched_noise",
    "frozen_keys": "frozen_matched_keys",
    "free_torch_init": MATCHED_TRAINED,
}
"""The noise that is as smooth and as wide as the filters of some conditions."""

CONDITIONS = {
    "free_torch_init": "learned freely, initialised by PyTorch",
    "frozen_ideal8": "eight idealized families, frozen",
    "frozen_matched_noise": "noise matched to the families, frozen",
    "free_from_ideal8": "learned freely, initialised as the families",
    "frozen_rotated": "families turned by random angles, frozen",
    "frozen_shuffled": "families with their taps in random order, frozen",
    "frozen_random": "white noise, frozen",
    MATCHED_TRAINED: "noise matched to learned filters, frozen",
    "free_truncated_normal": "learned freely, initialised as in timm",
    FREE: "learned freely, initialised as in timm, weight decay 0.3",
    "learned_scales": "families, scales learned",
    "frozen_keys": "eight published keys, frozen",
    "frozen_matched_keys": "noise matched to published keys, frozen",
    "frozen_jet2": "random 2-jets, frozen",
    "learned_jet2": "2-jets, scales and coefficients learned",
    "scale_space_7": "layers of 2-jets, 7x7, scales and coefficients learned",
    "scale_space_11": "layers of 2-jets, 11x11, scales and coefficients learned",
    "scale_space": "layers of 2-jets, 15x15, scales and coefficients learned",
    REPLACED: "learned freely, then replaced by families",
}
"""What the depthwise filters are, by the name of the recipe without what all begin with."""

CONTROLS = (*MAIN, "frozen_rotated", "frozen_shuffled", "frozen_random")
"""The main conditions with the controls that tell keys from smoothness."""
NAMED = (*CONTROLS, *KEYS, "learned_scales", "frozen_jet2", "free_truncated_normal", FREE)
"""The conditions of trainings of 16 epochs: the controls, and what is learned or frozen beside them."""
LAYERS = ("scale_space_7", "scale_space_11", "scale_space")
"""Layers of scale-space kernels of 7, 11 and 15 a side, whose scales are learned."""

BUDGETS = {
    "5": ("loop.epochs=5",),
    "16": ("loop.epochs=16",),
    "48": ("loop.epochs=48",),
    "few": ("loop.epochs=48", "data.train_images=5000"),
    "coarse": ("loop.epochs=16", "data.detail=16"),
    SMALL: ("loop.epochs=5", *SMALL_NETWORK),
    "small_long": ("loop.epochs=16", *SMALL_NETWORK),
    "small_longer": ("loop.epochs=48", *SMALL_NETWORK),
    "small_few": ("loop.epochs=48", "data.train_images=5000", *SMALL_NETWORK),
    "small_coarse": ("loop.epochs=5", "data.detail=16", *SMALL_NETWORK),
    "small_slow": ("loop.epochs=5", "optimizer.learning_rate=1.0e-3", *SMALL_NETWORK),
    "small_fast": ("loop.epochs=5", "optimizer.learning_rate=1.6e-2", *SMALL_NETWORK),
    "small_long_fast": ("loop.epochs=16", "optimizer.learning_rate=1.6e-2", *SMALL_NETWORK),
}
"""Settings by budget: a short one, the usual one, a long one, 10 % of the images, images of 16 x 16 pixels brought to
32, and the like for a network of a tenth of the operations, which a processor trains in minutes; this one also at a
quarter and at four times the learning rate."""
VARIED = ("small_long", "small_longer", "small_slow", "small_fast", "small_long_fast", "small_few", "small_coarse")
"""Other budgets of the small network, for the main conditions; the first for more of them."""


@dataclass(frozen=True)
class Planned:
    """One training."""

    condition: str
    budget: str
    seed: int

    @property
    def name(self) -> str:
        """What its folder and its files are called."""
        return f"{self.condition}-{self.budget}-{self.seed}"

    @property
    def recipe(self) -> Path:
        return recipe_file(f"builtin:cifar_convnext_{self.condition}")

    @property
    def start(self) -> "Planned | None":
        """The training whose weights it starts from."""
        return Planned(FREE, self.budget, self.seed) if self.condition == REPLACED else None

    @property
    def imitated(self) -> "Planned | None":
        """The training whose filters its noise imitates, where the network of the package is another one."""
        small = self.budget in (SMALL, *VARIED)
        return Planned(MAIN[0], self.budget, self.seed) if small and self.condition == MATCHED_TRAINED else None

    @property
    def settings(self) -> tuple[str, ...]:
        """What it sets beside its recipe; one that starts from another training has a short budget of its own."""
        settings = BUDGETS[self.budget]
        if self.start is not None:
            settings = tuple(setting for setting in settings if not setting.startswith("loop.epochs="))
        return (*settings, f"seed={self.seed}")


def planned(conditions: Iterable[str], budgets: tuple[str, ...], seeds: tuple[int, ...]) -> list[Planned]:
    """Return the trainings of these conditions, budgets and seeds, those first that say most."""
    wanted = set(product(conditions, budgets, seeds))
    ordered = (run for run in _in_order(seeds) if (run.condition, run.budget, run.seed) in wanted)
    return list(dict.fromkeys(ordered))


def _in_order(seeds: tuple[int, ...]) -> Iterator[Planned]:
    """Give all trainings: a first seed of the controls, further seeds of the main conditions, budgets, and the rest."""
    first, others = seeds[:1], seeds[1:]
    stages: list[tuple[Iterable[str], tuple[str, ...], tuple[int, ...]]] = [
        (CONTROLS, (SMALL,), first),
        (LAYERS, (SMALL,), first),
        (CONTROLS, (SMALL,), others),
        (CONDITIONS, (SMALL,), first),
        (MAIN, VARIED, first),
        (NAMED, VARIED[:1], first),
        (("learned_scales",), VARIED[1:2], first),
        (CONDITIONS, (SMALL,), others),
        (MAIN, ("5",), first),
        ((*CONTROLS, MATCHED_TRAINED), ("16",), first),
        (MAIN, ("16",), others),
        (MAIN, ("48",), first),
        (CONDITIONS, ("16",), first),
        (MAIN, ("few", "coarse"), first),
        (CONDITIONS, ("16",), others),
        (MAIN, ("5", "few", "coarse", "48", *VARIED), others),
        (NAMED, VARIED[:1], others),
    ]
    for conditions, budgets, some in stages:
        for seed, budget, condition in product(some, budgets, conditions):
            yield Planned(condition, budget, seed)
