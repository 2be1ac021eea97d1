"""Pages are written for a forge, where anchors of HTML and links to scripts work; here Sphinx learns to follow them."""

import re
from typing import Any

from sphinx.application import Sphinx

ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>$', re.MULTILINE)
ABOVE = re.compile(r"\]\(\.\./(README|CHANGELOG|CONTRIBUTING)\.md")
TUTORIAL = re.compile(r"\]\(((?:\.\./)*)tutorials/(?:README\.\w+|(\w+)\.py)?\)")

PAGES = {"README": "index", "CHANGELOG": "changelog", "CONTRIBUTING": "contributing"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", _as_sphinx_reads_it)
    return {"parallel_read_safe": True}


def _as_sphinx_reads_it(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001
    text = ANCHOR.sub(r"(\1)=", source[0])
    text = ABOVE.sub(lambda link: f"]({PAGES[link[1]]}.md", text)
    source[0] = TUTORIAL.sub(lambda link: f"]({link[1]}gallery/{link[2] or 'index'}.rst)", text)
