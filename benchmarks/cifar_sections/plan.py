"""Which trainings there are, and in which order they run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from scalekeys.training import recipe_file

FREE, REPLACED, MATCHED_TRAINED, SMALL = "free", "replaced", "frozen_matched_trained", "small"
SMALL_NETWORK = ("network.widths=[24, 48]", "network.depths=[1, 2]")
MAIN = ("free_torch_init", "frozen_ideal8", "frozen_matched_noise", "free_from_ideal8")
"""The conditions on which the claim rests; they run first, and in every budget."""

KEYS = ("frozen_keys", "frozen_matched_keys")
"""The published keys, and the noise that is as smooth and as wide as these."""

CONDITIONS = (
    *MAIN,
    "frozen_rotated",
    "frozen_shuffled",
    "frozen_random",
    MATCHED_TRAINED,
    "free_truncated_normal",
    FREE,
    "learned_scales",
    *KEYS,
    "frozen_jet2",
    "learned_jet2",
    "scale_space_7",
    "scale_space_11",
    "scale_space",
    REPLACED,
)
"""Names of recipes, without what all begin with."""

LAYERS = ("scale_space_7", "scale_space_11", "scale_space")
"""Layers of scale-space kernels of 7, 11 and 15 a side, whose scales are learned."""

BUDGETS = {
    "16": ("loop.epochs=16",),
    "48": ("loop.epochs=48",),
    "few": ("loop.epochs=48", "data.train_images=5000"),
    "coarse": ("loop.epochs=16", "data.detail=16"),
    SMALL: ("loop.epochs=5", *SMALL_NETWORK),
    "small_long": ("loop.epochs=16", *SMALL_NETWORK),
    "small_longer": ("loop.epochs=48", *SMALL_NETWORK),
    "small_few": ("loop.epochs=48", "data.train_images=5000", *SMALL_NETWORK),
    "small_coarse": ("loop.epochs=5", "data.detail=16", *SMALL_NETWORK),
}
"""Settings by budget: the short one, a long one, 10 % of the images, images of 16 x 16 pixels brought to 32, and the
like for a network of a tenth of the operations, which a processor trains in minutes."""
VARIED = ("small_long", "small_longer", "small_few", "small_coarse")
"""Other budgets of the small network, for the main conditions; the first also for the keys."""


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


def planned(conditions: tuple[str, ...], budgets: tuple[str, ...], seeds: tuple[int, ...]) -> list[Planned]:
    """Return the trainings of these conditions, budgets and seeds, those first that say most."""
    wanted = set(product(conditions, budgets, seeds))
    ordered = (run for run in _in_order(seeds) if (run.condition, run.budget, run.seed) in wanted)
    return list(dict.fromkeys(ordered))


def _in_order(seeds: tuple[int, ...]) -> Iterator[Planned]:
    """Give all trainings: a first seed of the controls, further seeds of the main conditions, budgets, and the rest."""
    first, others = seeds[:1], seeds[1:]
    stages = [
        (CONDITIONS[: len(MAIN) + 3], (SMALL,), first),
        (LAYERS, (SMALL,), first),
        (CONDITIONS[: len(MAIN) + 3], (SMALL,), others),
        (CONDITIONS, (SMALL,), first),
        (MAIN, VARIED, first),
        (KEYS, VARIED[:1], first),
        (CONDITIONS, (SMALL,), others),
        (CONDITIONS[: len(MAIN) + 4], ("16",), first),
        (MAIN, ("16",), others),
        (MAIN, ("48",), first),
        (CONDITIONS, ("16",), first),
        (MAIN, ("few", "coarse"), first),
        (CONDITIONS, ("16",), others),
        (MAIN, ("few", "coarse", "48", *VARIED), others),
        (KEYS, VARIED[:1], others),
    ]
    for conditions, budgets, some in stages:
        for seed, budget, condition in product(some, budgets, conditions):
            yield Planned(condition, budget, seed)
