"""``scalekeys analyze``: from a trained network to a scale-space report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands.options import DISCRETIZATION_HELP, DiscretizationName, Kinds

EXAMPLE = "Example: scalekeys analyze model.pth -o report/"


def analyze(
    source: Annotated[
        str,
        typer.Argument(
            help="A checkpoint file or folder, timm:NAME, hf:NAME, builtin:NAME or https://SERVER/PATH.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for report.html and the tables.", show_default=False)
    ],
    weights: Annotated[
        str | None, typer.Option(help="Which entry of a nested checkpoint to read, for example params_ema.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Models: ideal, second-order, oriented, jet1 to jet3, auto (all compete), or families with commas."
        ),
    ] = "ideal",
    discretization: Annotated[DiscretizationName, typer.Option(help=DISCRETIZATION_HELP)] = "discrete",
    kinds: Kinds = "depthwise",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of white and matched noise.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the files in an existing output folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Explain the filters of a network on one page: shapes, scales, and how well they fit.

    Each filter is compared with blurs and differences of blurs. Every figure stands beside the same figure for two
    kinds of random filters: white noise, which shares only means and norms with the filters, and matched noise, which
    is also as smooth and as wide.
    Writes OUTPUT/report.html (one self-contained page), OUTPUT/filters.parquet (one row a filter) and
    OUTPUT/ladder.parquet (what richer models add, one row for each layer and model; empty with another model than
    ideal).
    """
    from scalekeys.cli.show.analyze import print_summary
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.work.analyze import analyze_bank
    from scalekeys.files import check_new_folder, new_folder

    check_new_folder(output, force=force)
    with working() as step:
        from scalekeys.cli.work.reading import read_bank

        step(f"reading {source}")
        bank = read_bank(source, weights=weights, kinds=kinds)
        with new_folder(output, force=force) as folder:
            families = tuple(model.split(",")) if "," in model else model
            summary = analyze_bank(bank, folder, model=families, discretization=discretization, seed=seed, step=step)
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), indent=2))
    else:
        print_summary(summary, output)
