"""The network whose files are damaged, and what is done with files of weights."""

from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from fuzz.case import Use
from scalekeys.checkpoints import open_source, write_copy
from scalekeys.filters import noise_model, replacement

_SHARE_COPIED = 0.25


class Network(nn.Module):
    """A stem, two depthwise layers and a pointwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.dw = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(4, 8, (1, 5), padding=(0, 2), groups=4, bias=False)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for images."""
        return self.head(self.wide(self.dw(self.stem(x))))  # type: ignore[no-any-return]


def network() -> Network:
    """Return the network with the same random weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network().eval()


def state() -> dict[str, Tensor]:
    """Return the state dict of the network."""
    return {name: tensor.detach() for name, tensor in network().state_dict().items()}


def read_and_copy(name: str = "") -> Use:
    """Return what is done with a file of some name, or with the whole folder: it is read, and now and then copied."""

    def use(folder: Path, random: Random) -> None:
        opened = open_source(folder / "input" / name)
        bank = opened.bank()
        if opened.copying and random.random() < _SHARE_COPIED:
            target = folder / (f"copy{Path(name).suffix}" if name else "copy")
            write_copy(opened, replacement(noise_model(bank)), target)

    return use
