"""The training loop."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from scalekeys.errors import OutputError, RecipeError, ScaleKeysError, TrainingError
from scalekeys.files import clear_leftovers, expanded, held_folder, remove_file
from scalekeys.networks.measuring.evaluation import class_ranks
from scalekeys.networks.running.fast_depthwise import FastDepthwise
from scalekeys.optional import require
from scalekeys.training.augmentation import Normalization, augmented, targets
from scalekeys.training.building import TRAINED, trained_weights
from scalekeys.training.data import DataSets, ImageSet, open_data
from scalekeys.training.data.images import Labelled
from scalekeys.training.depthwise import check
from scalekeys.training.draws import Draws, epoch_draws, seed_network
from scalekeys.training.filter_figures import filter_figures
from scalekeys.training.optimization import averaged, optimizer_of, rate_at, set_rate
from scalekeys.training.precision import MEASURED, fastest_precision, taken_precision
from scalekeys.training.recipe import WRITTEN, Recipe, write_recipe
from scalekeys.training.records import METRICS, TENSORBOARD, Record
from scalekeys.training.snapshots import SNAPSHOT, Row, Snapshot, read_snapshot, write_snapshot
from scalekeys.training.starting import starting_network

_CHECK_EVERY = 20  # steps between two looks at the loss, each of which waits for the device


class Watcher(Protocol):
    """Is told how a training goes on."""

    def begin(self, epoch: int, epochs: int, images: int) -> None:
        """Take note that an epoch begins, of so many images."""

    def advance(self, images: int) -> None:
        """Take note that so many images are done."""

    def end(self, row: Row) -> None:
        """Take note that an epoch is done, with these figures."""


class _Nobody:
    def begin(self, epoch: int, epochs: int, images: int) -> None:
        pass

    def advance(self, images: int) -> None:
        pass

    def end(self, row: Row) -> None:
        pass


@dataclass(frozen=True, eq=False)
class Training:
    """All that a training works with."""

    recipe: Recipe
    data: DataSets
    accelerator: Any
    network: nn.Module
    """The one to change; wrapped where several processes work on it."""
    optimizer: Any
    average: AveragedModel | None
    rows: list[Row]
    """Figures of the epochs that are done."""

    @property
    def steps(self) -> int:
        """Steps of the optimiser in an epoch."""
        return len(self.data.train) // self.recipe.loop.batch

    @property
    def plain(self) -> nn.Module:
        """The network without what wraps it."""
        network: nn.Module = self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)
        return network

    @property
    def result(self) -> nn.Module:
        """The network to use: with averaged weights, where they are averaged."""
        return self.average.module if self.average is not None else self.plain


def train(recipe: Recipe, folder: Path, *, force: bool = False, watcher: Watcher | None = None) -> list[Row]:
    """Train a network by a recipe, or go on where an interrupted training in this folder stopped.

    After every epoch the folder holds ``network.safetensors``, the weights; ``metrics.csv``, one line an epoch, and the
    same for TensorBoard; ``recipe.yaml``; and ``last.pt``, from which it goes on. The result does not depend on where
    it was interrupted, nor, up to rounding, on the number of processes; but for what the network itself draws or
    gathers on its share of a batch, such as paths to drop and statistics of batch normalisation.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
    force : bool
        Begin anew: remove what an earlier training wrote into the folder.
    watcher : Watcher, optional

    Returns
    -------
    list of dict
        The figures of each epoch: accuracies from 0 to 1, losses, images a second, and median r2 by layer.

    Raises
    ------
    RecipeError
        If the recipe or its data cannot be used, or the folder holds a training by another recipe.
    DataError
        If an image cannot be read.
    TrainingError
        If the loss is no longer finite; the folder then holds the epochs before.
    OutputError
        If something cannot be written, or another process trains into the folder.
    """
    folder, watcher = expanded(folder), watcher or _Nobody()
    with torch.random.fork_rng(), ExitStack() as stack:
        check(recipe.depthwise)
        accelerator = _accelerator(recipe, "fp32" if recipe.loop.precision == "auto" else recipe.loop.precision)
        if accelerator.is_main_process:
            busy = OutputError(
                f"{folder}: another process trains into it; wait until it is done, or name another folder"
            )
            stack.enter_context(held_folder(folder, busy))
        snapshot = None if force else read_snapshot(folder, recipe)
        data, network = _started(recipe)
        if accelerator.is_main_process:  # nothing is removed by a training that cannot start
            _clear(folder, everything=force)
            write_recipe(recipe, folder / WRITTEN)
        accelerator.wait_for_everyone()
        training = _prepared(recipe, folder, accelerator, data, network, snapshot)
        accelerator = training.accelerator
        record = stack.enter_context(Record(folder, training.rows)) if accelerator.is_main_process else None
        for epoch in range(len(training.rows) + 1, recipe.loop.epochs + 1):
            watcher.begin(epoch, recipe.loop.epochs, training.steps * recipe.loop.batch)
            row = _epoch(training, epoch, watcher)
            training.rows.append(row)
            if record is not None:
                states = {name: part.state_dict() for name, part in _stateful(training).items()}
                write_snapshot(Snapshot(recipe, training.rows, states), trained_weights(training.result), folder)
                record.write(training.rows)
            watcher.end(row)
        accelerator.wait_for_everyone()
        return training.rows


def _accelerator(recipe: Recipe, precision: str) -> Any:
    """Say how many processes there are, where they compute and how precisely."""
    if precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError("loop.precision: fp16 needs a GPU; take bf16 or fp32")
    accelerate = require("accelerate", extra="train")
    mixed, state = "no" if precision == "fp32" else precision, accelerate.state.AcceleratorState
    if state._shared_state and state().mixed_precision != mixed:
        state._reset_state()  # else one process could train at one precision only
    accelerator = accelerate.Accelerator(
        cpu=not torch.accelerator.is_available(),  # else several processes on a CPU would not know of each other
        mixed_precision=mixed,
        gradient_accumulation_steps=recipe.loop.accumulate,
    )
    parts = accelerator.num_processes * recipe.loop.accumulate
    if recipe.loop.batch % (2 * parts):
        raise RecipeError(
            f"loop.batch: {recipe.loop.batch} images cannot be shared out in pairs to {accelerator.num_processes} "
            f"processes x {recipe.loop.accumulate} parts; take a multiple of {2 * parts}"
        )
    return accelerator


def _clear(folder: Path, *, everything: bool) -> None:
    """Remove what a killed training left half written, or everything that a training writes, and nothing else."""
    for name in (SNAPSHOT, TRAINED, METRICS, WRITTEN, MEASURED):
        clear_leftovers(folder / name)
        if everything:
            remove_file(folder / name)
    if everything:
        shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)


def _started(recipe: Recipe) -> tuple[DataSets, nn.Module]:
    """Open the data, and make the network."""
    data = open_data(recipe)
    if len(data.train) < recipe.loop.batch:
        raise RecipeError(f"loop.batch: {recipe.loop.batch} is more than the {len(data.train)} training images")
    return data, starting_network(recipe, len(data.classes))


def _prepared(
    recipe: Recipe, folder: Path, accelerator: Any, data: DataSets, network: nn.Module, snapshot: Snapshot | None
) -> Training:
    network.to(accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.loop.precision == "auto":
        accelerator = _accelerator(recipe, _measured(recipe, folder, accelerator, network))
    average = averaged(network, recipe.loop.average) if recipe.loop.average else None
    optimizer = optimizer_of(network, recipe.optimizer, recipe.depthwise)
    network, optimizer = accelerator.prepare(network, optimizer)
    training = Training(recipe, data, accelerator, network, optimizer, average, [])
    if snapshot is not None:
        for name, part in _stateful(training).items():
            part.load_state_dict(snapshot.states[name])
        training.rows.extend(snapshot.rows)
    return training


def _measured(recipe: Recipe, folder: Path, accelerator: Any, network: nn.Module) -> str:
    """Return the precision that this training took before, or else the fastest; the first process says which."""
    choice = [""]
    if accelerator.is_main_process:
        before = taken_precision(folder)
        part = recipe.loop.batch // (accelerator.num_processes * recipe.loop.accumulate)
        images = torch.zeros(part, 3, recipe.data.size, recipe.data.size, device=accelerator.device)
        images = images.contiguous(memory_format=torch.channels_last)
        choice = [fastest_precision(network, images, folder) if before is None else before[0]]
    require("accelerate", extra="train").utils.broadcast_object_list(choice)
    return choice[0]


def _stateful(training: Training) -> dict[str, Any]:
    """Return what a snapshot keeps, by name."""
    parts = {"network": training.plain, "optimizer": training.optimizer}
    others = {"average": training.average, "scaler": training.accelerator.scaler}
    return parts | {name: part for name, part in others.items() if part is not None}


def _epoch(training: Training, epoch: int, watcher: Watcher) -> Row:
    """Train on all images once, and test."""
    start = perf_counter()
    loss = _trained(training, epoch, watcher)
    seconds = perf_counter() - start
    row = {"epoch": epoch, "learning_rate": _rate(training, epoch * training.steps), "train_loss": loss}
    if epoch % training.recipe.loop.test_every == 0 or epoch == training.recipe.loop.epochs:
        row |= _tested(training, training.plain)
        if training.average is not None:
            row |= {f"average_{name}": value for name, value in _tested(training, training.average.module).items()}
    every = training.recipe.loop.fit_every
    if training.accelerator.is_main_process and every and epoch % every == 0:
        row |= filter_figures(training.result)
    speed = training.steps * training.recipe.loop.batch / seconds
    return row | {"seconds": perf_counter() - start, "images_per_second": speed}


def _rate(training: Training, step: int) -> float:
    recipe = training.recipe
    warmup = min(recipe.optimizer.warmup_epochs / recipe.loop.epochs, 1.0)
    return rate_at(step / (training.steps * recipe.loop.epochs), warmup, recipe.optimizer, recipe.loop.batch)


def _trained(training: Training, epoch: int, watcher: Watcher) -> float:
    """Train for an epoch, and return the mean loss."""
    recipe, accelerator, network = training.recipe, training.accelerator, training.network
    normalization = Normalization(recipe.data.mean, recipe.data.std)
    classes, total = len(training.data.classes), torch.zeros((), device=accelerator.device, dtype=torch.float64)
    parts = list(_parts(training, epoch))
    network.train()
    for number, (draws, (pixels, labels)) in enumerate(
        zip(parts, _loaded(training.data.train, parts, training), strict=True)
    ):
        step, part = divmod(number, recipe.loop.accumulate)
        seed_network(recipe.seed, epoch, step, part, accelerator.process_index)
        set_rate(training.optimizer, _rate(training, (epoch - 1) * training.steps + step + 1))
        draws, labels = draws.to(accelerator.device), labels.to(accelerator.device)
        images = augmented(pixels.to(accelerator.device), draws, recipe.augmentation, normalization).contiguous(
            memory_format=torch.channels_last
        )
        wanted = targets(labels, classes, draws, recipe.augmentation, images.shape[-2:])
        with accelerator.accumulate(network):
            with accelerator.autocast(), FastDepthwise():
                logits = network(images)
            loss = F.cross_entropy(logits.float(), wanted)
            accelerator.backward(loss)
            if accelerator.sync_gradients and recipe.optimizer.clip is not None:
                accelerator.clip_grad_norm_(network.parameters(), recipe.optimizer.clip)
            training.optimizer.step()
            training.optimizer.zero_grad()
        if accelerator.sync_gradients and training.average is not None:
            training.average.update_parameters(training.plain)
        total += loss.detach()
        if number % _CHECK_EVERY == 0 or number == len(parts) - 1:
            _check_finite(total, epoch)
        watcher.advance(len(draws) * accelerator.num_processes)
    return float(accelerator.reduce(total, "mean")) / len(parts)


def _check_finite(loss: Tensor, epoch: int) -> None:
    if not isfinite(float(loss)):
        raise TrainingError(
            f"the loss is no longer finite in epoch {epoch}; what the epochs before it gave is saved. Lower "
            "optimizer.learning_rate, raise optimizer.warmup_epochs or set optimizer.clip, and begin anew"
        )


def _parts(training: Training, epoch: int) -> Iterator[Draws]:
    """Give the parts of the batches of an epoch that are this process's to work on."""
    recipe, accelerator = training.recipe, training.accelerator
    size = recipe.loop.batch // (accelerator.num_processes * recipe.loop.accumulate)
    for draws in epoch_draws(len(training.data.train), recipe.loop.batch, recipe.seed, epoch, recipe.augmentation):
        for part in range(recipe.loop.accumulate):
            start = (part * accelerator.num_processes + accelerator.process_index) * size
            yield draws[start : start + size]


def _loaded(images: ImageSet, batches: list[Any], training: Training) -> Iterator[Labelled]:
    """Load whole batches, in other processes where images are decoded."""
    workers = training.recipe.data.workers if images.decodes else 0
    pinned = training.accelerator.device.type == "cuda"
    loader: DataLoader[Any] = DataLoader(
        _WithErrors(images),  # type: ignore[arg-type]
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        pin_memory=pinned,
    )
    for batch in loader:
        if isinstance(batch, ScaleKeysError):
            raise batch
        yield batch


@dataclass(frozen=True, eq=False)
class _WithErrors:
    """Gives errors back in the place of batches; those that a process raises would reach us as a long text."""

    images: ImageSet

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, batch: Tensor | Draws) -> Labelled | ScaleKeysError:
        try:
            return self.images[batch]
        except ScaleKeysError as error:
            return error


@torch.no_grad()
def _tested(training: Training, network: nn.Module) -> Row:
    """Return loss and accuracies on the test images, of which each process takes its share."""
    recipe, accelerator = training.recipe, training.accelerator
    normalization = Normalization(recipe.data.mean, recipe.data.std)
    mine = torch.arange(len(training.data.test))[accelerator.process_index :: accelerator.num_processes]
    counts = torch.zeros(3, device=accelerator.device, dtype=torch.float64)
    network.eval()
    for pixels, labels in _loaded(training.data.test, list(mine.split(recipe.loop.test_batch)), training):
        images = normalization(pixels.to(accelerator.device)).contiguous(memory_format=torch.channels_last)
        labels = labels.to(accelerator.device)
        with accelerator.autocast():
            logits = network(images).float()
        rank = class_ranks(logits, labels)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        counts += torch.stack([loss.double(), (rank < 1).sum().double(), (rank < 5).sum().double()])
    loss, top1, top5 = (accelerator.reduce(counts, "sum") / len(training.data.test)).tolist()
    return {"test_loss": loss, "top1": top1, "top5": top5}
