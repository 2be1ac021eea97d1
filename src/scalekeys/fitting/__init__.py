"""Fitting families to filters: scales, amplitudes, residuals and a status for every filter, in batches."""

from scalekeys.fitting.api import fit
from scalekeys.fitting.engine import STATUSES, StackFit
from scalekeys.fitting.result import Fit
from scalekeys.fitting.spec import MODELS, FitSpec, parse_spec

__all__ = ["MODELS", "STATUSES", "Fit", "FitSpec", "StackFit", "fit", "parse_spec"]
