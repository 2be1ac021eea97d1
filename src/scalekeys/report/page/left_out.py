"""What the sources hold and no page counts: tensors and layers that look like kernels and are not read."""

from collections.abc import Sequence

from scalekeys.filters import LeftOut
from scalekeys.report.page import Section, render

_OPEN_UP_TO = 5  # rows that a page shows without being asked


def left_out_section(left_out: Sequence[LeftOut]) -> list[Section]:
    """Return a section with a table of what is left out, or none where nothing is."""
    if not left_out:
        return []
    body = render("page/left_out.html.j2", rows=left_out, open_up_to=_OPEN_UP_TO)
    return [Section("left-out", "What is left out", body, short="Left out")]
