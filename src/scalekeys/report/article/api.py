"""The entry to an article: a study in, a folder of files out."""

from collections.abc import Callable
from pathlib import Path

from scalekeys.paper import Study
from scalekeys.report.article.measures import Material
from scalekeys.report.article.plates import draw_all
from scalekeys.report.article.sections import SECTIONS, Article, header
from scalekeys.report.article.table import to_csv, to_tex
from scalekeys.report.article.tables import all_tables
from scalekeys.report.page import render_page


def write_article(study: Study, folder: Path, progress: Callable[[str], None] | None = None) -> None:
    """Write a study as a page, with its figures for print and its tables as data and for LaTeX.

    The same study gives the same bytes.

    Parameters
    ----------
    study : Study
    folder : Path
        An existing folder. It gets ``article.html``, which is complete in itself, ``figures/*.pdf`` and ``*.png``, and
        ``tables/*.csv`` and ``*.tex``.
    progress : callable, optional
        Called with the name of each file, without its ending, when it has been written.
    """
    material = Material(study)
    figures, tables = folder / "figures", folder / "tables"
    figures.mkdir()
    tables.mkdir()

    def tell(name: str) -> None:
        if progress is not None:
            progress(name)

    made = all_tables(material)
    for name, table in made.items():
        _write(tables / f"{name}.csv", to_csv(table))
        _write(tables / f"{name}.tex", to_tex(table, study.source))
        tell(f"tables/{name}")
    plates = {}
    for plate in draw_all(material):
        plates[plate.name] = plate
        (figures / f"{plate.name}.png").write_bytes(plate.png)
        (figures / f"{plate.name}.pdf").write_bytes(plate.pdf)
        tell(f"figures/{plate.name}")
    article = Article(material, made, plates)
    sections = (make(article) for make in SECTIONS)
    title = f"Scale-space models of {study.source}"
    _write(folder / "article.html", render_page(title, header(article), sections))
    tell("article")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace", newline="\n")
