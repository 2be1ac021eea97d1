"""Fitting families to filters: scales, amplitudes, residuals and a status for every filter, in batches."""

from scalekeys.fitting.api import fit, share_scales
from scalekeys.fitting.formation import Formation, Group, Standing, formation
from scalekeys.fitting.ladder import Ladder, LadderGroup, ladder
from scalekeys.fitting.orientation import Orientation, orientation
from scalekeys.fitting.patch_covariance import PatchCovariance, natural_covariance_of, natural_image_covariance
from scalekeys.fitting.prepare import STATUSES
from scalekeys.fitting.result import Fit
from scalekeys.fitting.spec import CRITERIA, MODELS, FitSpec, parse_spec
from scalekeys.fitting.stack import StackFit
from scalekeys.fitting.uncertainty import SCALE_STATUSES

__all__ = [
    "CRITERIA",
    "MODELS",
    "SCALE_STATUSES",
    "STATUSES",
    "Fit",
    "FitSpec",
    "Formation",
    "Group",
    "Ladder",
    "LadderGroup",
    "Orientation",
    "PatchCovariance",
    "StackFit",
    "Standing",
    "fit",
    "formation",
    "ladder",
    "natural_covariance_of",
    "natural_image_covariance",
    "orientation",
    "parse_spec",
    "share_scales",
]
