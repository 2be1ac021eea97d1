"""``scalekeys demo``: train a small network here and now, and analyse it."""

from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys demo -o my-demo/"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the reports.")] = Path("scalekeys-demo"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the training; the default takes a minute.")
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:
    """Train a small network on handwritten digits, and write three reports.

    The other two reports are about the eight published keys and about a ConvNeXt that was trained on CIFAR-10; both
    come with the package. Nothing is downloaded.
    """
    from scalekeys.cli.show.analyze import print_summary
    from scalekeys.cli.show.progress import working
    from scalekeys.files import check_new_folder

    check_new_folder(output, force=force)
    with working() as step:
        from scalekeys.cli.work.demo import run_demo

        accuracy, summaries = run_demo(output, epochs=epochs, seed=seed, force=force, step=step)
    typer.echo(f"Trained on handwritten digits: {100 * accuracy:.1f} % of the test digits are read correctly.\n")
    for name, summary in summaries.items():
        print_summary(summary, output / name)
        typer.echo("")
    typer.echo(
        "Open the reports in a browser. Next:\n"
        f"  scalekeys analyze {output / 'digits.pth'} -o digits-report/    (or any checkpoint of yours)\n"
        "  scalekeys analyze --help"
    )
