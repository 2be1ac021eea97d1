"""``loop.precision: auto``: the precision in which a step takes least time, measured once for a training."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.errors import RecipeError
from scalekeys.files import new_file
from scalekeys.networks.running.fast_depthwise import FastDepthwise

MEASURED = "precision.json"
"""What a training calls the file that says which precision it took, and the seconds of a step in each."""

_DTYPES = {"fp32": None, "bf16": torch.bfloat16}
_STEPS = 4  # of which the first does not count
_HOPELESS = 4.0  # times as slow as the fastest: not measured again, since a step may take half a minute


def taken_precision(folder: Path) -> tuple[str, Mapping[str, float]] | None:
    """Read which precision the training in a folder took, and the seconds of a step in each; None if it took none.

    Raises RecipeError if the file is damaged.
    """
    path = folder / MEASURED
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        taken, seconds = content["precision"], {name: float(value) for name, value in content["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{path}: is damaged ({error}); begin anew with --force") from None
    if taken not in _DTYPES:
        raise RecipeError(f"{path}: {taken!r} is none of {', '.join(_DTYPES)}; begin anew with --force")
    return taken, seconds


def said_of_precision(folder: Path) -> list[str]:
    """Say which precision the training in a folder took, where it took one, and how long a step was in each.

    Raises RecipeError if the file that holds it is damaged.
    """
    taken = taken_precision(folder)
    if taken is None:
        return []
    others = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in taken[1].items())
    return [f"loop.precision: auto took {taken[0]} (a step: {others})"]


def fastest_precision(network: nn.Module, images: Tensor, folder: Path) -> str:
    """Measure a few steps of a copy of a network in each precision, write what was found, and return the fastest.

    `network`: on the device on which it is trained; it stays as it is, and so do the generators of random numbers.
    `images`: shape (images, 3, rows, cols); as many as are worked on at a time.
    `folder`: holds the file afterwards, by which the training is gone on with.
    Raises OutputError if the file cannot be written.
    """
    steps = {name: _step(network, images, dtype) for name, dtype in _DTYPES.items() if _known(images.device, dtype)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    with torch.random.fork_rng():
        for _ in range(_STEPS):  # in turn, so that what else runs on the machine slows all of them
            for name, step in steps.items():
                start = perf_counter()
                step()
                times[name].append(perf_counter() - start)
            steps = {name: step for name, step in steps.items() if not _is_hopeless(times, name)}
    seconds = {name: min(values[1:]) for name, values in times.items()}
    taken = min(seconds, key=seconds.__getitem__)
    with new_file(folder / MEASURED, force=True) as temporary:
        temporary.write_text(json.dumps({"precision": taken, "seconds": seconds}, indent=2) + "\n", encoding="utf-8")
    return taken


def _is_hopeless(times: Mapping[str, list[float]], name: str) -> bool:
    counted = {other: min(values[1:], default=0.0) for other, values in times.items()}
    return counted[name] > _HOPELESS * min(counted.values()) > 0


def _known(device: torch.device, dtype: torch.dtype | None) -> bool:
    return dtype is None or device.type != "cuda" or torch.cuda.is_bf16_supported()


def _step(network: nn.Module, images: Tensor, dtype: torch.dtype | None) -> Callable[[], None]:
    copy = deepcopy(network).train()

    def precise() -> AbstractContextManager[object]:
        return nullcontext() if dtype is None else torch.autocast(images.device.type, dtype)

    def step() -> None:
        with precise(), FastDepthwise():
            logits: Tensor = copy(images)
        F.cross_entropy(logits.float(), torch.zeros(len(images), dtype=torch.long, device=images.device)).backward()
        copy.zero_grad()
        if images.device.type == "cuda":
            torch.cuda.synchronize()

    return step
