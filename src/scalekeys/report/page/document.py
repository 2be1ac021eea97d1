"""A whole page from its sections: base template, stylesheet, figure script.

Nothing is fetched by the finished page: styles and scripts stand inside it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from scalekeys.report.page import words
from scalekeys.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


EXPLORER = tuple(
    f"explorer/{name}.js" for name in ("scalespace", "filters", "pictures", "sheet", "line", "search", "explorer")
)
"""The modules of the explorer, each after those that it imports."""


FIGURES = tuple(f"page/{name}.js" for name in ("labels", "axes", "plots"))
"""The modules that draw figures, in the same order."""

_IMPORT = re.compile(r"^import [^;]+;\n", re.MULTILINE)


@dataclass(frozen=True)
class Tile:
    """A key figure above the first section of a page: what it is, its value, and what to compare it with."""

    label: str
    value: str
    beside: str


@dataclass(frozen=True, eq=False)
class Figure:
    """An interactive figure, as data.

    Parameters
    ----------
    name : str
        Identifier in the page: lower-case letters and hyphens.
    data, layout : list and dict
        Traces and layout in the part of the vocabulary of plotly that ``plots.js`` draws; the layout has a height. A
        string ``var(--name)`` stands for a value of the stylesheet.
    label : str
        Text alternative.
    narrow : dict
        Entries of the layout (dotted names) that replace others where the figure is narrow.
    legend : bool
        Whether buttons for its traces stand above the figure.
    """

    name: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    label: str
    narrow: dict[str, Any] = field(default_factory=dict)
    legend: bool = False

    @property
    def json(self) -> Markup:
        """The figure as JSON that may stand inside a script element."""
        return script_json({"data": self.data, "layout": self.layout, "narrow": self.narrow})


@dataclass(frozen=True, eq=False)
class Section:
    """A section of a page.

    Parameters
    ----------
    name : str
        Anchor in the page.
    title : str
        Heading.
    body : Markup
        Content, rendered by :func:`render`.
    short : str
        The title in the list of contents; the title itself if empty.
    """

    name: str
    title: str
    body: Markup
    short: str = ""


def script_json(data: Any) -> Markup:
    r"""Return data as JSON that may stand inside a script element.

    Examples
    --------
    >>> script_json({"name": "</script>"})
    Markup('{"name":"\\u003c/script>"}')
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def render(template: str, **context: Any) -> Markup:
    """Render a packaged template, ``PAGE/NAME.html.j2``; everything put into it is escaped.

    Examples
    --------
    >>> "lead" in render("page/header.html.j2", kicker="a", title="<b>", lead="lead", tiles=[], cautions="")
    True
    """
    return Markup(_text(template, **context))


def paragraphs(template: str, section: str, **facts: Any) -> list[str]:
    """Return the paragraphs that a macro of a packaged template of plain text, ``PAGE/NAME.txt.j2``, makes.

    A blank line ends a paragraph; a line break inside one is a space, and nothing is escaped.

    Examples
    --------
    >>> paragraphs("article/text.txt.j2", "groups", members=["{1, 2}"])
    ['The group is {1, 2}.']
    """
    text = getattr(_environment().get_template(template).module, section)(**facts)
    return [re.sub("[ \n]+", " ", part).strip(" ") for part in re.split(r"\n\s*\n", text) if part.strip()]


def paragraph(template: str, section: str, **facts: Any) -> str:
    """Return the one paragraph that a macro makes; see :func:`paragraphs`."""
    (text,) = paragraphs(template, section, **facts)
    return text


def render_page(title: str, header: Markup, sections: Iterable[Section | None]) -> str:
    """Render a whole page.

    Parameters
    ----------
    title : str
        Title of the document.
    header : Markup
        What stands above the first section.
    sections : iterable of Section or None
        In the order of the page; None where there is nothing to show.

    Returns
    -------
    str
        One self-contained HTML document; a function of the arguments and of the version of the software alone.
    """
    shown = [section for section in sections if section is not None]
    explored = any("data-explorer" in section.body for section in shown)
    styles = ["page/colours.css", "page/style.css", *(["explorer/explorer.css"] if explored else [])]
    return _text(
        "page/base.html.j2",
        title=title,
        header=header,
        sections=shown,
        version=__version__,
        style=joined(*styles),
        script=joined(*FIGURES, "page/page.js"),
        drawn=any("data-figure" in section.body for section in shown),
        modules=joined(*EXPLORER, "explorer/start.js") if explored else None,
    )


def _text(template: str, **context: Any) -> str:
    return _environment().get_template(template).render(**context)


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    filters = (
        words.number, words.number_in, words.significant, words.percent, words.points, words.count, words.plural,
        words.spelled, words.sentence, words.listed, words.size_name, words.size_words, words.kernels_of,
        words.formula, words.breakable, words.unit_of, words.input_unit_of,
    )  # fmt: skip
    environment.filters.update({function.__name__: function for function in filters})
    environment.globals.update(none_text=words.NONE)
    return environment


def _template(name: str) -> str:
    """Return the text of a template, which stands in the folder of its page."""
    page, _, file = name.partition("/")
    return resources.files("scalekeys.report").joinpath(page, "templates", file).read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def joined(*names: str) -> Markup:
    """Return packaged files, ``PAGE/NAME``, as one text; modules of scripts become one, without their imports."""
    texts = []
    for name in names:
        page, _, file = name.partition("/")
        text = resources.files("scalekeys.report").joinpath(page, "assets", file).read_text(encoding="utf-8")
        texts.append(_IMPORT.sub("", text))
    return Markup("\n".join(texts))
