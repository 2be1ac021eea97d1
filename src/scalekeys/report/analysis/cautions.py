"""Which remarks a reader should know before trusting a number; their words stand in the template."""

from markupsafe import Markup

from scalekeys.filters.dead import NEGLIGIBLE
from scalekeys.report.analysis.view import AT_BOUND, Analysis
from scalekeys.report.page import render

_FEW_TAPS = 3  # along every axis
_LAYERS = 5  # named of those with dead filters
_DOMINANT, _MANY = 0.5, 20  # the share of energy that one filter of so many should not hold
_EXPLAINED = (
    *("zero-filter", "negligible", "constant-filter", "non-finite"),
    *("unsupported-size", "unexplained", "polynomial"),
)


def cautions(analysis: Analysis) -> Markup:
    """Render every remark that applies, the reader's own notes first."""
    summary, found = analysis.summary, analysis.summary.statuses
    others = [word for word in found if word not in (*_EXPLAINED, "ok", AT_BOUND)]
    fits = zip(("white", "matched"), analysis.fits[1:], strict=True)
    return render(
        "analysis/cautions.html.j2",
        summary=summary,
        statuses={word: found[word] for word in (*_EXPLAINED, *others) if word in found},
        unexplained={name: float((fit.status == "unexplained").mean()) for name, fit in fits},
        negligible=NEGLIGIBLE,
        affected=sorted((layer for layer in summary.layers if layer.dead), key=lambda layer: -layer.dead),
        most=_LAYERS,
        dominated=(summary.strongest or 0) >= _DOMINANT and summary.quality.fitted >= _MANY,
        at_scale=int(analysis.at_largest_scale.sum()),
        at_strength=int(analysis.at_largest_strength.sum()),
        small=[
            size for size in summary.sizes if size.quality.fitted and max(map(int, size.size.split("x"))) <= _FEW_TAPS
        ],
    )
