"""Networks as they run: what their depthwise layers see, and other weights for them."""

from scalekeys.networks.constraining import bake, constrain
from scalekeys.networks.evaluating import Difference, Evaluation, evaluate
from scalekeys.networks.patches import patch_covariance
from scalekeys.networks.recalibrating import recalibrate
from scalekeys.networks.replacing import replace

__all__ = ["Difference", "Evaluation", "bake", "constrain", "evaluate", "patch_covariance", "recalibrate", "replace"]
