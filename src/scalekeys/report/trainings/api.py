"""The two entries to a report on trainings: the page as text, and the page as a file."""

from pathlib import Path

from scalekeys.files import expanded, new_file
from scalekeys.training.comparison import Comparison


def render_trainings_report(comparison: Comparison) -> str:
    """Render the report of a comparison as one self-contained HTML page.

    Parameters
    ----------
    comparison : Comparison
        See :func:`scalekeys.training.compare`.

    Returns
    -------
    str
        The page. It loads nothing from elsewhere, and the same trainings give the same text.
    """
    from scalekeys.report.page import render_page
    from scalekeys.report.trainings.sections import SECTIONS, header

    sections = (section(comparison) for section in SECTIONS)
    return render_page("Trainings beside each other", header(comparison), sections)


def write_trainings_report(comparison: Comparison, path: Path | str, *, force: bool = False) -> None:
    """Write the report of a comparison to a file.

    Parameters
    ----------
    comparison : Comparison
    path : Path or str
        The file to write; the page is complete in it.
    force : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        If the file exists and `force` is not given, or cannot be written.
    """
    text = render_trainings_report(comparison)
    with new_file(expanded(path), force=force) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
