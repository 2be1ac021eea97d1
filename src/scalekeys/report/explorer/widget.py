"""The explorer in a notebook."""

import json
from typing import Any

from scalekeys.fitting import Fit
from scalekeys.optional import require
from scalekeys.report.explorer.payload import payload_of
from scalekeys.report.explorer.section import NAME, markup
from scalekeys.report.page.document import EXPLORER, joined


def explore(fit: Fit) -> Any:
    """Show every filter of a fit in a notebook, and each beside models that the reader chooses.

    Parameters
    ----------
    fit : Fit
        The fit of a bank or of an array of filters.

    Returns
    -------
    anywidget.AnyWidget
        The explorer of :func:`scalekeys.write_report`, with its data: at most 50,000 filters.

    Raises
    ------
    MissingExtraError
        If anywidget is not installed; the extra ``widget`` brings it.

    Examples
    --------
    >>> import scalekeys as sk
    >>> explore(sk.fit(sk.master_keys()))  # doctest: +SKIP
    """
    anywidget, traitlets = require("anywidget", extra="widget"), require("traitlets", extra="widget")
    names = {name: traitlets.Unicode("").tag(sync=True) for name in ("markup", "data")}
    widget = type("Explorer", (anywidget.AnyWidget,), {"_esm": script(), "_css": stylesheet(), **names})
    return widget(**state(fit))


def script() -> str:
    """Return the module of the widget, which renders the state into an element."""
    return str(joined(*EXPLORER, "explorer/notebook.js"))


def stylesheet() -> str:
    """Return the stylesheet of the explorer outside a page: its colours are those of its own element."""
    colours = str(joined("page/colours.css")).replace(":root", ".explorer")
    return colours + str(joined("explorer/explorer.css", "explorer/notebook.css"))


def state(fit: Fit) -> dict[str, str]:
    """Return what the module of the widget reads: the elements of the explorer, and its data."""
    data = json.dumps(payload_of(fit).data, separators=(",", ":"), allow_nan=False)
    return {"markup": str(markup(NAME, formed=False)), "data": data}
