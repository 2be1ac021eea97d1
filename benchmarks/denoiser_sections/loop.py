"""The training of a denoiser: settings, steps, and what is kept on disk to go on from."""

import csv
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from denoiser_sections.pictures import Pictures
from denoiser_sections.quality import baselines, denoised, psnr
from scalekeys.errors import RecipeError
from scalekeys.files import new_file, remove_file
from scalekeys.networks.running.fast_depthwise import FastDepthwise
from scalekeys.networks.running.memory_layout import channels_last
from scalekeys.training.denoiser import Denoiser

_OTHER_DECAY = 0.01  # of all weights but the depthwise ones


@dataclass(frozen=True)
class Settings:
    """What a training depends on besides its pictures, whose name is among it."""

    data: str
    kernel_size: int = 7
    width: int = 32
    blocks: int = 3
    channels: int = 1
    noise: tuple[float, float] = (0.1, 0.1)
    """The least and the largest standard deviation of the noise; pixels are numbers from 0 to 1."""
    weight_decay: float = 5.0
    """Of the depthwise kernels. It removes the noise of their initialisation, which short trainings otherwise keep."""
    steps: int = 3000
    batch: int = 16
    crop: int = 64
    learning_rate: float = 4e-3
    seed: int = 0

    def network(self) -> Denoiser:
        """Return the network, at its start."""
        torch.manual_seed(self.seed)
        network = Denoiser(self.kernel_size, self.width, self.blocks, self.channels)
        channels_last(network)
        return network


class Training:
    """A network on its way, which can be written to a file and go on from it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = settings.network()
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.network, settings.weight_decay), fused=True)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.2
        )
        self._generator = torch.Generator().manual_seed(settings.seed)
        self.done = 0
        self.rows: list[dict[str, float]] = []

    def step(self, pictures: Pictures) -> float:
        """Learn from one batch, and return its mean absolute error."""
        settings = self.settings
        clean = pictures.crops(settings.batch, settings.crop, self._generator)
        noisy = channels_last(add_noise(clean, settings.noise, self._generator))
        with FastDepthwise():
            loss = F.l1_loss(self.network(noisy), clean)
            self._optimizer.zero_grad()
            loss.backward()
        self._optimizer.step()
        self._schedule.step()
        self.done += 1
        return float(loss.detach())

    def write(self, path: Path) -> None:
        """Write all that :meth:`read` needs."""
        buffer = io.BytesIO()
        states = {name: getattr(self, name).state_dict() for name in ("network", "_optimizer", "_schedule")}
        progress = {"done": self.done, "rows": self.rows, "generator": self._generator.get_state()}
        torch.save({"settings": asdict(self.settings), "states": states, **progress}, buffer)
        with new_file(path, force=True) as temporary:
            temporary.write_bytes(buffer.getvalue())

    def read(self, path: Path) -> None:
        """Go on from a file.

        Raises
        ------
        RecipeError
            If it is damaged, or that of a training with other settings.
        """
        try:
            kept = torch.load(path, weights_only=True)
            known = kept["settings"]
        except Exception as error:  # the readers of pickles and archives have no common class
            raise RecipeError(f"{path}: cannot be read ({type(error).__name__}); remove it to begin anew") from None
        if known != asdict(self.settings):
            other = [name for name, value in asdict(self.settings).items() if known.get(name) != value]
            raise RecipeError(
                f"{path}: is of a training with another {', '.join(other)}; remove it or give another --out"
            )
        for name, state in kept["states"].items():
            getattr(self, name).load_state_dict(state)
        self._generator.set_state(kept["generator"])
        self.done, self.rows = kept["done"], kept["rows"]


def train(settings: Settings, pictures: Pictures, output: Path) -> Iterator[dict[str, float]]:
    """Train a network, give the figures of each tenth of the steps, and write its weights, and a log beside them.

    Interrupted, the same call goes on after the last tenth that is done.
    """
    training, snapshot = Training(settings), output.with_suffix(".part")
    if snapshot.exists():
        training.read(snapshot)
    test = Test.of(pictures, settings)
    losses: list[float] = []
    start = time.process_time()
    while training.done < settings.steps:
        losses.append(training.step(pictures))
        if training.done % max(1, settings.steps // 10) and training.done < settings.steps:
            continue
        figures = {"step": training.done, "loss": sum(losses) / len(losses), "cpu_s": time.process_time() - start}
        training.rows.append({**figures, **test.figures(training.network)})
        losses, start = [], time.process_time()
        training.write(snapshot)
        yield training.rows[-1]
    _write_log(training.rows, output.with_suffix(".csv"))
    weights = {name: tensor.contiguous() for name, tensor in training.network.state_dict().items()}
    metadata = {"settings": json.dumps(asdict(settings) | {"data": Path(settings.data).name})}
    with new_file(output, force=True) as temporary:
        temporary.write_bytes(save(weights, metadata=metadata))
    remove_file(snapshot)


@dataclass(frozen=True, eq=False)
class Test:
    """Held-out pictures with noise of a fixed strength, the middle of the range."""

    clean: Tensor
    noisy: Tensor
    beside: dict[str, float]

    @classmethod
    def of(cls, pictures: Pictures, settings: Settings) -> "Test":
        """Add the noise, the same for every training."""
        middle = sum(settings.noise) / 2
        clean = pictures.held_out.float() / 255
        noisy = add_noise(clean, (middle, middle), torch.Generator().manual_seed(1))
        return cls(clean, noisy, baselines(noisy, clean, middle))

    def figures(self, network: nn.Module) -> dict[str, float]:
        """Return the ratio of a network beside those of the noisy pictures and of simple filters, in decibels."""
        return {"psnr": psnr(denoised(network, self.noisy), self.clean), **self.beside}


def add_noise(pictures: Tensor, noise: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Add normal noise, of a standard deviation that is drawn for each picture."""
    low, high = noise
    sigma = low + (high - low) * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    return pictures + sigma * torch.randn(pictures.shape, generator=generator)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    depthwise = [p for name, p in network.named_parameters() if "depthwise.weight" in name]
    others = [p for name, p in network.named_parameters() if "depthwise.weight" not in name]
    return [{"params": depthwise, "weight_decay": weight_decay}, {"params": others, "weight_decay": _OTHER_DECAY}]


def _write_log(rows: list[dict[str, float]], path: Path) -> None:
    with new_file(path, force=True) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: round(value, 4) for name, value in row.items()} for row in rows)
