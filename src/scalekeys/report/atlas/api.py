"""The two entries to a report on an atlas: the page as text, and page and tables as files."""

from pathlib import Path

from scalekeys.atlas import Atlas
from scalekeys.files import expanded, new_folder
from scalekeys.files.csv_cells import write_csv
from scalekeys.report.atlas.summary import AtlasSummary, summarize_atlas


def render_atlas_report(summary: AtlasSummary, title: str) -> str:
    """Render the report of an atlas as one self-contained HTML page.

    Parameters
    ----------
    summary : AtlasSummary
    title : str
        What the atlas is called.

    Returns
    -------
    str
        The page. It loads nothing from elsewhere, and the same figures give the same text.
    """
    from scalekeys.report.atlas.sections import SECTIONS, header
    from scalekeys.report.page import render_page

    sections = [section(summary) for section in SECTIONS]
    return render_page(f"{title} · atlas", header(summary, title), sections)


def write_atlas_report(atlas: Atlas, folder: Path | str, *, force: bool = False) -> AtlasSummary:
    """Write the report of an atlas, and every table behind it as CSV, into a folder.

    Parameters
    ----------
    atlas : Atlas
        See :func:`scalekeys.atlas.open`.
    folder : Path or str
        Is made: ``report.html``, ``explained.csv``, ``scales.csv``, ``mix.csv``, ``orientation.csv``,
        ``networks.csv``, ``kernels.csv``, ``failures.csv``, ``left_out.csv`` and ``correlations.csv``.
    force : bool
        Replace the files in an existing folder.

    Returns
    -------
    AtlasSummary
        The figures that the page shows.

    Raises
    ------
    AtlasError
        If the tables of the atlas cannot be read.
    OutputError
        If the folder holds something and `force` is not given, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = sk.atlas.build(["builtin:master-keys"], folder / "atlas")
    >>> summary = sk.write_atlas_report(sk.atlas.open(folder / "atlas"), folder / "report")
    >>> summary.counts["filters"], round(summary.total["r2"], 2)
    (8, 0.89)
    """
    summary = summarize_atlas(atlas)
    with new_folder(expanded(folder), force=force) as temporary:
        page = render_atlas_report(summary, atlas.name)
        (temporary / "report.html").write_text(page, encoding="utf-8", errors="replace", newline="\n")
        for name, table in {**summary.tables, "correlations": summary.correlation_table}.items():
            write_csv(temporary / f"{name}.csv", table.schema, table.to_batches())
    return summary
