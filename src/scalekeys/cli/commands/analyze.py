"""``scalekeys analyze``: from a trained network to a scale-space report."""

from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys analyze model.pth -o report/"


def analyze(
    source: options.Source,
    output: Annotated[Path, options.output("Folder for report.html and the tables.")],
    weights: options.Weights = None,
    model: Annotated[
        str,
        typer.Option(
            help="Models: ideal, second-order, oriented, jet1 to jet3, auto (all compete), or families with commas."
        ),
    ] = "ideal",
    discretization: Annotated[options.DiscretizationName, typer.Option(help=options.DISCRETIZATION_HELP)] = "discrete",
    kinds: options.Kinds = "depthwise",
    seed: options.Seed = 0,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Explain the filters of a network on one page: shapes, scales, and how well they fit.

    Each filter is compared with blurs and differences of blurs. Every figure stands beside the same figure for two
    kinds of random filters: white noise, which shares only means and norms with the filters, and matched noise, which
    is also as smooth and as wide.
    Writes OUTPUT/report.html (one self-contained page), OUTPUT/filters.parquet (one row a filter), and
    with --model ideal OUTPUT/ladder.parquet (what richer models add, one row for each layer and model).
    """
    options.check_paths(source, folder=output, force=force)
    from scalekeys.cli.show.analyze import print_summary
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.result import print_result
    from scalekeys.files import new_folder

    with working() as step:
        from scalekeys.cli.work.analyze import Filters
        from scalekeys.cli.work.analyze import analyze as analyze_filters

        step(f"reading {source}")
        filters = Filters.read(source, weights, kinds)
        with new_folder(output, force=force) as folder:
            families = tuple(model.split(",")) if "," in model else model
            summary = analyze_filters(filters, folder, step, model=families, discretization=discretization, seed=seed)
    print_result(summary, print_summary, output, as_json=as_json)
