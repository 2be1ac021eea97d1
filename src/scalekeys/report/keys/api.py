"""The two entries to a report on keys: the page as text, and the page as a file."""

from pathlib import Path

from scalekeys.clustering import COVERED, KChoice, Keys
from scalekeys.files import expanded, new_file
from scalekeys.report.keys.elimination import EliminationSummary
from scalekeys.report.keys.summary import KeysSummary
from scalekeys.report.keys.view import KeysView


def render_keys_report(
    keys: Keys,
    *,
    choice: KChoice | None = None,
    threshold: float = COVERED,
    elimination: EliminationSummary | None = None,
) -> str:
    """Render the report of a clustering as one self-contained HTML page.

    Parameters
    ----------
    keys : Keys
        The clustering.
    choice : KChoice, optional
        The study of the number of keys.
    threshold : float
        The correlation with its key from which on a filter counts as covered.
    elimination : EliminationSummary, optional
        What was eliminated, if the keys are what remained; see
        :func:`scalekeys.report.keys.elimination.summarize_elimination`.

    Returns
    -------
    str
        The page. It loads nothing from elsewhere, and the same clustering gives the same text.

    Examples
    --------
    >>> import scalekeys as sk
    >>> bank = sk.FilterBank.from_tensor(sk.master_keys(), model="master keys")
    >>> page = render_keys_report(sk.cluster(bank, k=2))
    >>> page.splitlines()[0]
    '<!DOCTYPE html>'
    """
    return _render(KeysView(keys, choice, threshold, elimination))


def write_keys_report(
    keys: Keys,
    path: Path | str,
    *,
    choice: KChoice | None = None,
    threshold: float = COVERED,
    elimination: EliminationSummary | None = None,
    force: bool = False,
) -> KeysSummary:
    """Write the report of a clustering to a file.

    Parameters
    ----------
    keys, choice, threshold, elimination
        See :func:`render_keys_report`.
    path : Path or str
        The file to write; the page is complete in it.
    force : bool
        Replace an existing file.

    Returns
    -------
    KeysSummary
        The figures that the page shows.

    Raises
    ------
    OutputError
        If the file exists and `force` is not given, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> bank = sk.FilterBank.from_tensor(sk.master_keys(), model="master keys")
    >>> summary = write_keys_report(sk.cluster(bank, k=2), Path(tempfile.mkdtemp()) / "report.html")
    >>> sum(key.members for key in summary.keys)
    8
    """
    view = KeysView(keys, choice, threshold, elimination)
    with new_file(expanded(path), force=force) as temporary:
        temporary.write_text(_render(view), encoding="utf-8", errors="replace", newline="\n")
    return view.summary


def _render(view: KeysView) -> str:
    from scalekeys.report.keys.sections import SECTIONS, header
    from scalekeys.report.page import render_page
    from scalekeys.report.page.left_out import left_out_section
    from scalekeys.report.page.words import listed

    sections = [*(section(view) for section in SECTIONS), *left_out_section(view.summary.not_read)]
    return render_page(f"{listed(view.summary.models)} · master keys", header(view), sections)
