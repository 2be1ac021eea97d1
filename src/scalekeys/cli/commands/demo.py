"""``scalekeys demo``: analyse what comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys demo -o my-demo/"


def demo(
    output: Annotated[Path, options.output("Folder for the reports.")] = Path("scalekeys-demo"),
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:
    """Write reports on what comes with the package: two trained networks and the eight published keys.

    One network was trained to remove noise from pictures, the other one, a ConvNeXt, to classify CIFAR-10. Nothing is
    downloaded.
    """
    options.check_paths(folder=output, force=force)
    from scalekeys.cli.show.analyze import print_summary
    from scalekeys.cli.show.progress import working

    with working() as step:
        from scalekeys.cli.work.demo import run_demo

        summaries = run_demo(output, seed=seed, force=force, step=step)
    for name, summary in summaries.items():
        print_summary(summary, output / name)
        typer.echo("")
    typer.echo(
        "Open the reports in a browser. Next:\n"
        "  scalekeys analyze model.pth -o my-report/  # any checkpoint of yours\n"
        "  scalekeys check builtin:denoiser"
    )
