"""``scalekeys paper``: the paper's tables and figures from the numbers of its filters, or of others."""

from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys paper -o article/ --json paper.json"


def paper(
    output: Annotated[Path | None, options.output("Folder for the article, its figures and tables.")] = None,
    filters: Annotated[
        Path | None,
        typer.Option(help="Filters of your own: .npy (filters, rows, cols), or .csv like the published table."),
    ] = None,
    families: Annotated[
        str | None, typer.Option(help="The family of each filter, separated by commas; by default the best of eight.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="Numbers of the filters that share a scale, for example 1,2,3,4,8/5,6.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all figures at full precision; - for standard output.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Repeat the analysis of the paper on the master key filters.

    Spread, normalisation, scales by every method, and residuals are computed from the filters. Without options, every
    published figure is printed beside the computed one.
    """
    from scalekeys.cli.show.paper import print_study
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.work.paper import check_outputs, run_paper, write_json

    check_outputs(output, json_file, force=force)
    with working() as step:
        study = run_paper(filters, families=families, groups=groups, output=output, force=force, step=step)
    if json_file is not None:
        write_json(study, json_file, force=force)
    if str(json_file) != "-":
        print_study(study, output)
