"""``scalekeys atlas``: many networks in one table, and questions to it."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from scalekeys.cli.commands import options

BUILD_EXAMPLE = "Example: scalekeys atlas build 'checkpoints/**/*.pth' models.csv 'timm:convnext*' -o atlas/"
QUERY_EXAMPLE = 'Example: scalekeys atlas query atlas/ "select family, count(*) from filters group by family"'
REPORT_EXAMPLE = "Example: scalekeys atlas report atlas/ -o report/"
FINDINGS_EXAMPLE = "Example: scalekeys atlas findings atlas/ -o findings/"
EXPORT_EXAMPLE = "Example: scalekeys atlas export atlas/ -o shared/ --licence CC0-1.0"
MERGE_EXAMPLE = "Example: scalekeys atlas merge mine/ theirs/ -o both/"

app = typer.Typer(
    help="Analyse many networks into one table of filters, and query it.", no_args_is_help=True, rich_markup_mode=None
)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Checkpoints, patterns of them, timm: and hf: names with wildcards, https: addresses, and lists: .txt "
        "with a source a line, .csv with a column 'source' and others of metadata.",
        show_default=False,
    ),
]
Atlas = Annotated[Path, typer.Argument(metavar="ATLAS", help="Folder of the atlas.", show_default=False)]
Output = Annotated[Path, options.output("Folder of the atlas; an existing atlas is continued.")]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Number of worker processes; 0: no workers. By default one for each processor."),
]
RayAddress = Annotated[
    str | None, typer.Option("--ray", metavar="ADDRESS|local", help="Work on a Ray cluster that shares the folders.")
]
Recheck = Annotated[
    bool, typer.Option("--recheck", help="Read all sources again, also those that have not changed since the last run.")
]


@app.command("build", epilog=BUILD_EXAMPLE)
def build(
    sources: Sources,
    output: Output,
    workers: Workers = None,
    ray: RayAddress = None,
    seed: options.Seed = 0,
    kinds: options.Kinds = "depthwise",
    recheck: Recheck = False,
    as_json: options.AsJson = False,
) -> None:
    """Fit the filters of many networks, or continue an earlier run.

    Writes OUTPUT/filters/ (one row a filter), networks.parquet and failures.parquet (one row a source), and
    left_out.parquet (tensors that look like kernels and are not read). A source that cannot be read becomes a row of
    failures.parquet and does not stop the run. After an interruption, run the same command again: only what is missing
    is done.
    """
    from scalekeys.checkpoints.sources.paths import check_sources

    check_sources(sources)
    from scalekeys.cli.show.atlas import print_summary
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.result import print_result
    from scalekeys.cli.work.atlas import check_networks

    processes = (0 if ray else os.cpu_count() or 1) if workers is None else workers
    with working() as step:
        from scalekeys.atlas.building import build as build_atlas
        from scalekeys.atlas.references import expand

        step("looking for sources")
        references = expand(sources)
        progress = step("analysing networks", len(references))
        summary = build_atlas(
            references,
            output,
            workers=processes,
            ray=ray,
            seed=seed,
            kinds=kinds,
            recheck=recheck,
            progress=progress,
        )
    print_result(summary, print_summary, output, as_json=as_json)
    check_networks(summary)


@app.command("query", epilog=QUERY_EXAMPLE)
def query(
    folder: Atlas,
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUERY",
            help="SQL over the tables filters, networks, failures and left_out, or a name: scales-by-depth, "
            "family-mix-by-stride, r2-by-kernel-size, orientation, separability, offsets, published-keys, outliers.",
            show_default=False,
        ),
    ],
    output: Annotated[Path | None, options.output("Write all rows into a .csv or .parquet file.")] = None,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Query an atlas in SQL. A query can only read, and only the tables of the atlas."""
    if output is not None and as_json:
        raise typer.BadParameter(
            "prints the rows that --output writes into a file; give one of them", param_hint="--json"
        )
    from scalekeys.atlas import NAMED
    from scalekeys.atlas import open as open_atlas
    from scalekeys.cli.show.atlas import print_rows
    from scalekeys.cli.work.atlas import to_json, write_rows
    from scalekeys.errors import AtlasError

    atlas = open_atlas(folder)
    try:
        answer = atlas.named(question) if question in NAMED else atlas.sql(question)
    except AtlasError:
        if not re.fullmatch(r"[\w-]+", question):
            raise
        answer = atlas.named(question)  # a word that is no SQL either: the error lists the names
    if output is not None:
        write_rows(answer, output, force=force)
    elif as_json:
        typer.echo(to_json(answer))
    else:
        print_rows(answer)


@app.command("report", epilog=REPORT_EXAMPLE)
def report(
    folder: Atlas,
    output: Annotated[Path, options.output("Folder for page and tables.")],
    force: options.Force = False,
) -> None:
    """Write a page about an atlas: scales, families, r2, correlations with metadata.

    Writes OUTPUT/report.html (one self-contained page) and the tables behind it as CSV.
    """
    options.check_paths(folder=output, force=force)
    from scalekeys.atlas import open as open_atlas
    from scalekeys.cli.show.cells import Terminal
    from scalekeys.cli.show.progress import working
    from scalekeys.errors import counted
    from scalekeys.report.atlas import write_atlas_report

    with working() as step:
        step("asking the atlas")
        summary = write_atlas_report(open_atlas(folder), output, force=force)
    counts = summary.counts
    held = f"{counted(counts['networks'], 'network')}, {counted(counts['filters'], 'filter')}"
    text = f"{held}\nreport: {output / 'report.html'}"
    Terminal().say(text)


@app.command("findings", epilog=FINDINGS_EXAMPLE)
def findings(
    folder: Atlas,
    output: Annotated[Path, options.output("Folder for page and tables.")],
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Folder with universal_networks.csv and universal_tasks.csv, for the claims about keys.",
            show_default=False,
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Test the claims of the papers on all networks of an atlas, beside white and matched noise.

    Writes OUTPUT/README.md (the page), networks.md (all networks), figures/, tables/ (CSV) and queries/ (SQL).
    """
    options.check_paths(folder=output, force=force)
    from scalekeys.atlas import open as open_atlas
    from scalekeys.cli.show.atlas import print_findings
    from scalekeys.cli.show.progress import working
    from scalekeys.report.findings import write_findings

    with working() as step:
        step("testing claims")
        found = write_findings(open_atlas(folder), output, keys=keys, force=force)
    print_findings(found, output)


@app.command("export", epilog=EXPORT_EXAMPLE)
def export(
    folder: Atlas,
    output: Annotated[Path, options.output("Folder to write.")],
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", "--license", metavar="ID", help="Licence of the tables, such as CC0-1.0, for the card."
        ),
    ] = None,
    keep_paths: Annotated[
        bool,
        typer.Option(
            "--keep-paths", help="Write paths as they were given. By default they are relative to their common folder."
        ),
    ] = False,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Write an atlas as files to share, with a data card.

    Writes OUTPUT/data/ (the tables as Parquet files of bounded size), README.md (the data card), export.json and
    SHA256SUMS. DuckDB, pandas and Hugging Face datasets open the folder as it is; so do query, report and merge.
    """
    from scalekeys.cli.show.atlas import print_export
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.result import print_result

    with working() as step:
        from scalekeys.atlas.exporting import export as export_atlas

        step("writing tables")
        summary = export_atlas(folder, output, keep_paths=keep_paths, licence=licence, force=force)
    print_result(summary, print_export, output, as_json=as_json)


@app.command("merge", epilog=MERGE_EXAMPLE)
def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="ATLAS", help="Folders of atlases and of exports.", show_default=False)
    ],
    output: Annotated[Path, options.output("Folder of the new atlas.")],
    prefixes: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="WORD",
            help="A word to put before the paths of an atlas, so that equal paths of different networks differ; given "
            "once for each atlas, in the same order.",
            show_default=False,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Join atlases, and exports of atlases, into one atlas.

    A network that stands in several of them has its rows once. The new atlas can be queried, reported on, exported and
    continued as if it had been built in one run.
    """
    from scalekeys.cli.show.atlas import print_holdings
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.result import print_result

    with working() as step:
        from scalekeys.atlas.merging import merge as merge_atlases

        step("joining tables")
        summary = merge_atlases(folders, output, prefixes=prefixes or ())
    print_result(summary, print_holdings, output, as_json=as_json)
