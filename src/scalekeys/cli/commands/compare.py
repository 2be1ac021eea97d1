"""``scalekeys compare``: trainings beside each other."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys compare runs/free runs/frozen runs/learned -o comparison/"


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders that scalekeys train wrote.", show_default=False)
    ],
    output: Annotated[Path, options.output("Folder for report and table.")],
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare trainings: accuracy, learned parameters, scales and filters.

    Runs that differ only in their seed count as one condition. Writes OUTPUT/report.html (one self-contained page) and
    runs.csv (one row a run).
    """
    options.check_paths(folder=output, force=force)
    from scalekeys.cli.show.compare import print_conditions
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.work.compare import read_runs, write_comparison
    from scalekeys.files import new_folder
    from scalekeys.training.comparison import compare as beside

    with working() as step:
        comparison = beside(read_runs(runs, step))
        with new_folder(output, force=force) as folder:
            write_comparison(comparison, folder, step)
    if as_json:
        typer.echo(json.dumps(comparison.table(), indent=2))
    else:
        print_conditions(comparison, output)
