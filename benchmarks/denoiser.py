"""A small network with depthwise filters, trained to remove noise from pictures.

    OMP_NUM_THREADS=1 python benchmarks/denoiser.py train --data cifar10.npz --crop 32 --out denoiser.safetensors
    OMP_NUM_THREADS=1 python benchmarks/denoiser.py train --data photographs/ --kernel-size 31 --out large.safetensors

``train`` writes the weights of the network, and beside them a log with the peak signal-to-noise ratio on held-out
pictures: of the network, of the noisy pictures, of Gaussian smoothing at its best width and, where scikit-image is
installed, of non-local means. Interrupted, the same command goes on where it stopped.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import torch

from denoiser_sections.loop import Settings, train
from denoiser_sections.pictures import SAMPLE, read_pictures
from scalekeys.errors import RecipeError, ScaleKeysError
from scalekeys.files import check_new_file


def main() -> None:
    arguments = _parsed()
    try:
        _train(arguments)
    except ScaleKeysError as error:
        raise SystemExit(f"denoiser: {error}") from None


def _train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    check_new_file(arguments.out, force=arguments.force)
    settings = _settings(arguments)
    for row in train(settings, read_pictures(settings.data, settings.channels, settings.crop), arguments.out):
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def _settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings, or refuse those that make no network or no training.

    Raises
    ------
    RecipeError
        If a number is out of its range.
    """
    given = {field.name: getattr(arguments, field.name) for field in fields(Settings)}
    settings = Settings(**given | {"noise": (min(arguments.noise), max(arguments.noise))})
    if settings.kernel_size % 2 == 0:
        raise RecipeError(f"--kernel-size {settings.kernel_size}: give an odd side")
    if settings.crop % 2 or settings.crop < settings.kernel_size:
        raise RecipeError(f"--crop {settings.crop}: give an even number, at least the side of the kernels")
    if settings.noise[0] < 0 or settings.noise[1] <= 0 or len(arguments.noise) > 2:
        shown = " ".join(f"{level:g}" for level in arguments.noise)
        raise RecipeError(f"--noise {shown}: give one standard deviation above 0, or the ends of a range")
    for name in ("kernel_size", "width", "blocks", "steps", "batch", "crop", "learning_rate"):
        if given[name] <= 0:
            raise RecipeError(f"--{name.replace('_', '-')} {given[name]:g}: give a number above 0")
    if settings.weight_decay < 0:
        raise RecipeError(f"--weight-decay {settings.weight_decay:g}: give 0 or more")
    return settings


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verb = parser.add_subparsers(required=True).add_parser("train", help="train one network")
    verb.add_argument("--data", required=True, help=f"an archive .npz of JPEG pictures, a folder, or {SAMPLE}")
    verb.add_argument("--noise", type=float, nargs="+", default=[0.1], help="standard deviation, or ends of a range")
    verb.add_argument("--channels", type=int, choices=(1, 3), default=1, help="grey or colour")
    for field in fields(Settings):
        if field.name not in ("data", "noise", "channels"):
            verb.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    verb.add_argument("--threads", type=int, default=1)
    verb.add_argument("--out", type=Path, required=True, help="file of the weights (.safetensors)")
    verb.add_argument("--force", action="store_true", help="replace it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
