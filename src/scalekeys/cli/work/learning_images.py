"""Images of a folder or a data set, in a share to learn from and a share to measure on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scalekeys import __version__
from scalekeys.cli.work import Step
from scalekeys.cli.work.network_task import BATCH, check_runs, opened_images
from scalekeys.cli.work.work_file import WorkFile, fingerprint
from scalekeys.errors import DataError
from scalekeys.files import expanded, is_folder
from scalekeys.images import batches, sample
from scalekeys.images.pictures import class_folders
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of

FEWEST = 10
"""With fewer images nothing is learned."""


@dataclass(frozen=True)
class Data:
    """Which images, and how they are prepared."""

    source: str
    """A folder or data set."""
    labels: Path | None
    """The number of each class."""
    limit: int | None
    """How many images."""
    figures: Figures
    seed: int
    """Of the choice of images, and of which are held out."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Prepared images in batches, with labels where these are known."""

    learning: Sequence[tuple[Tensor, Tensor]]
    measuring: Sequence[tuple[Tensor, Tensor]]
    """Empty where no labels are known."""

    @property
    def inputs(self) -> list[Tensor]:
        """The images to learn from, without labels."""
        return [images for images, _ in self.learning]

    @property
    def counts(self) -> tuple[int, int]:
        """How many images are learned from, and how many are held out."""
        return sum(len(one) for one, _ in self.learning), sum(len(one) for one, _ in self.measuring)


def read_images(network: NamedNetwork, data: Data, step: Step, *, labelled: bool) -> Shares:
    """Read the images: all to learn from where labels are not wanted or not there, else a random half of them.

    Raises
    ------
    DataError
        If there are too few.
    """
    prepare = preparation_of(network, data.figures)
    labelled = labelled and _has_labels(data)
    images = opened_images(network, data.source, prepare, labelled=labelled, labels=data.labels)
    chosen = sample(images, data.limit, data.seed)
    halves = (2 if labelled else 1) * FEWEST
    if len(chosen) < halves:
        raise DataError(
            f"{data.source}: {len(chosen)} images are too few; give at least {halves}, better a few hundred"
        )
    step(f"reading {len(chosen)} images")
    if not labelled:
        found = list(batches(images, prepare, size=BATCH, indices=chosen))
        check_runs(network, found[0][0][:2])
        return Shares(found, ())
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(data.seed)).tolist()
    shares = (sorted(chosen[place] for place in order[start::2]) for start in (0, 1))
    return Shares(*(list(batches(images, prepare, size=BATCH, indices=share)) for share in shares))


def work_file(output: Path, network: NamedNetwork, shares: Shares, options: dict[str, Any]) -> WorkFile:
    """Return the file that keeps finished pieces, for these weights, images and options."""
    about = {
        "the version of scalekeys": __version__,
        "the weights": fingerprint(network.module.state_dict().values()),
        "the images": fingerprint(shares.inputs),
    }
    return WorkFile(output, about | options)


def _has_labels(data: Data) -> bool:
    """Tell whether images have classes: those of a data set, and those in the folders of a folder."""
    if data.labels is not None or data.source.startswith("hf:"):
        return True
    folder = expanded(data.source)
    return not is_folder(folder) or bool(class_folders(folder)) or not any(folder.iterdir())
