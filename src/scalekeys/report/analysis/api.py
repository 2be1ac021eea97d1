"""The two entries to a report: the page as text, and the page as a file."""

from pathlib import Path

from scalekeys.checkup import Checkup
from scalekeys.files import expanded, new_file
from scalekeys.fitting import Fit
from scalekeys.report.analysis.summary import Summary
from scalekeys.report.analysis.view import Analysis


def render_report(fit: Fit, white: Fit, matched: Fit) -> str:
    """Render the report of a fit as one self-contained HTML page.

    Parameters
    ----------
    fit : Fit
        The fit of a bank.
    white : Fit
        The fit of :func:`scalekeys.white_noise_like` of the same bank, with the same spec.
    matched : Fit
        The fit of :func:`scalekeys.matched_noise_like` of the same bank, with the same spec.

    Returns
    -------
    str
        The page. It loads nothing from elsewhere, and the same fits give the same text.

    Examples
    --------
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys(), model="master keys")
    >>> page = render_report(sk.fit(keys), sk.fit(sk.white_noise_like(keys)), sk.fit(sk.matched_noise_like(keys)))
    >>> page.splitlines()[0]
    '<!DOCTYPE html>'
    """
    return render_analysis(Analysis.of(fit, white, matched))


def write_report(
    fit: Fit, white: Fit, matched: Fit, path: Path | str, *, checkup: Checkup | None = None, force: bool = False
) -> Summary:
    """Write the report of a fit to a file.

    Parameters
    ----------
    fit : Fit
        The fit of a bank.
    white : Fit
        The fit of :func:`scalekeys.white_noise_like` of the same bank, with the same spec.
    matched : Fit
        The fit of :func:`scalekeys.matched_noise_like` of the same bank, with the same spec.
    path : Path or str
        The file to write; the page is complete in it.
    checkup : Checkup, optional
        What :func:`scalekeys.check` says of the network; without it only the filters are examined.
    force : bool
        Replace an existing file.

    Returns
    -------
    Summary
        The figures that the page shows.

    Raises
    ------
    OutputError
        If the file exists and `force` is not given, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys(), model="master keys")
    >>> folder = Path(tempfile.mkdtemp())
    >>> controls = sk.fit(sk.white_noise_like(keys)), sk.fit(sk.matched_noise_like(keys))
    >>> summary = write_report(sk.fit(keys), *controls, folder / "report.html")
    >>> round(summary.quality.median_r2, 2)
    0.8...
    """
    analysis = Analysis.of(fit, white, matched, checkup)
    with new_file(expanded(path), force=force) as temporary:
        temporary.write_text(render_analysis(analysis), encoding="utf-8", errors="replace", newline="\n")
    return analysis.summary


def render_analysis(analysis: Analysis) -> str:
    """Render the page of an analysis."""
    from scalekeys.report.analysis.sections import header, sections_of
    from scalekeys.report.page import render_page
    from scalekeys.report.page.left_out import left_out_section

    return render_page(
        f"{analysis.summary.model} · receptive fields",
        header(analysis),
        [*sections_of(analysis), *left_out_section(analysis.summary.left_out)],
    )
