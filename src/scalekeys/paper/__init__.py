"""The paper's analysis as one result: measures, scales and residuals of a few filters, beside the published values."""

from scalekeys.paper.comparison import Comparison, compare, worst_deviations
from scalekeys.paper.conventions import Convention, questionable_conventions
from scalekeys.paper.curves import OffsetCurve, norm_at, offset_curve
from scalekeys.paper.study import (
    METHODS,
    RICHER_MODELS,
    SPREAD_MEASURES,
    Method,
    Study,
    methods_with,
    spread_table,
    study,
)
from scalekeys.paper.templates import TEMPLATE_METHODS, method_templates

__all__ = [
    "METHODS",
    "RICHER_MODELS",
    "SPREAD_MEASURES",
    "TEMPLATE_METHODS",
    "Comparison",
    "Convention",
    "Method",
    "OffsetCurve",
    "Study",
    "compare",
    "method_templates",
    "methods_with",
    "norm_at",
    "offset_curve",
    "questionable_conventions",
    "spread_table",
    "study",
    "worst_deviations",
]
