"""What every report shares: the base template, the stylesheet, the figure script, and sections to fill a page with.

A report is a list of :class:`Section`; a section is a title, a body rendered from a template, and perhaps figures.
Each page has a folder beside this one, with its templates in ``templates/``.
"""

from scalekeys.report.page.document import Figure, Section, Tile, render, render_page

__all__ = ["Figure", "Section", "Tile", "render", "render_page"]
