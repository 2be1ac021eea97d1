"""A small depthwise-separable network for scikit-learn's bundled digits, trained in about a minute on two cores.

It exists to give a real trained network to look at where nothing can be downloaded. The images are tiny (8 x 8), so
they are enlarged to 24 x 24, which lets 7 x 7 kernels see shapes instead of borders.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPOCHS = 60
_SIDE = 24  # three times the size of the bundled digits
_WIDTH, _BLOCKS = 32, 3
_BATCH = 128
_LEARNING_RATE = 4e-3
# Decay on the depthwise kernels removes the noise of their initialisation, which short trainings otherwise keep.
_WEIGHT_DECAY = 10.0
_SHIFT = 3  # pixels of random translation
_TEST_SHARE = 0.2


class _Block(nn.Module):
    """Residual block: 7 x 7 depthwise filters, then two pointwise layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.project(F.gelu(self.expand(self.norm(self.depthwise(x)))))
        return x + change


class DigitsNetwork(nn.Module):
    """A classifier of 24 x 24 grey images into ten digits, with three layers of 7 x 7 depthwise filters.

    Examples
    --------
    >>> DigitsNetwork()(torch.zeros(2, 1, 24, 24)).shape
    torch.Size([2, 10])
    """

    def __init__(self, width: int = _WIDTH, blocks: int = _BLOCKS) -> None:
        super().__init__()
        # Patches of 2 x 2 become channels: in a file, the weight of a convolution of a grey image would have the shape
        # of a depthwise one.
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, width, 1))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, 10) of images (batch, 1, 24, 24)."""
        features = self.blocks(self.stem(images)).mean((-2, -1))
        logits: Tensor = self.head(features)
        return logits


@dataclass(frozen=True, eq=False)
class TrainedDigits:
    """A trained network, and the digits on which it was trained and tested.

    `network`: in evaluation mode.
    `accuracy`: the share of the test digits that it reads correctly.
    `train`, `test`: images (digits, 1, 24, 24) with values from -1 to 1, and their labels, from 0 to 9. The training
    shifts each image at random, so that the network has seen other positions of the images in `train`.
    """

    network: DigitsNetwork
    accuracy: float
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def train_digits(
    *, epochs: int = EPOCHS, seed: int = 0, progress: Callable[[int], None] | None = None
) -> TrainedDigits:
    """Train a :class:`DigitsNetwork` on four fifths of scikit-learn's digits and test it on the rest.

    Parameters
    ----------
    epochs : int
    seed : int
        Of the split, the initialisation and the augmentation; the same seed gives the same network.
    progress : callable, optional
        Called with 1 after each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = _digits()
    order = torch.randperm(len(images), generator=generator)
    test, train = order.split([round(_TEST_SHARE * len(order)), len(order) - round(_TEST_SHARE * len(order))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DigitsNetwork()
    optimizer = torch.optim.AdamW(_parameter_groups(network), lr=_LEARNING_RATE)
    steps = epochs * -(-len(train) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.2)
    network.train()
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train), generator=generator)].split(_BATCH):
            logits = network(_translate(images[batch], generator))
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress(1)
    network.eval()
    with torch.no_grad():
        accuracy = (network(images[test]).argmax(-1) == labels[test]).double().mean()
    seen, held_out = ((images[part], labels[part]) for part in (train, test))
    return TrainedDigits(network, float(accuracy), seen, held_out)


def _digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 1, 24, 24) in [-1, 1], enlarged, and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 8 - 1
    return F.interpolate(images, size=_SIDE, mode="bilinear"), torch.from_numpy(bunch.target).long()


def _translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to three pixels, background entering at the border."""
    padded = F.pad(images, (_SHIFT,) * 4, value=-1.0)
    shift = torch.randint(0, 2 * _SHIFT + 1, (2, len(images), 1), generator=generator)
    rows, cols = (start + torch.arange(_SIDE) for start in shift)
    return padded[torch.arange(len(images))[:, None, None], 0, rows[:, :, None], cols[:, None, :]][:, None]


def _parameter_groups(network: nn.Module) -> list[dict[str, object]]:
    depthwise = [p for name, p in network.named_parameters() if "depthwise" in name]
    others = [p for name, p in network.named_parameters() if "depthwise" not in name]
    return [{"params": depthwise, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.01}]
