"""``scalekeys train``: train a network by a recipe."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys train builtin:cifar_convnext_free data.source=cifar-10-batches-bin -o runs/free"


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="FILE|builtin:NAME",
            help="A recipe in YAML, or one that comes with the package.",
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that override those of the recipe.", show_default=False),
    ] = None,
    output: Annotated[Path | None, options.output("Folder to write into; runs/RECIPE by default.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Start again, and remove an earlier training in the folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures of all epochs as JSON.")] = False,
) -> None:
    """Train a network with filters that are free, frozen, or functions of scales.

    A recipe says what is trained and how. Writes OUTPUT/network.safetensors, metrics.csv and logs for TensorBoard after
    every epoch. If a training is interrupted, the same command continues it to the same result. For 8 GPUs put
    'torchrun --nproc-per-node 8 --no-python' before the command.
    """
    from scalekeys.cli.show.train import print_rows, watching
    from scalekeys.training import read_recipe, recipe_file
    from scalekeys.training import train as run

    settings, folder = read_recipe(recipe, overrides or ()), output or Path("runs") / recipe_file(recipe).stem
    with watching() as watcher:
        rows = run(settings, folder, force=force, watcher=watcher)
    if watcher.is_main:
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
        else:
            print_rows(rows, folder)
