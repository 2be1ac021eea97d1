"""Networks as they run: what their depthwise layers see, and other weights for them."""

from scalekeys.networks.compressing import Compression, compress
from scalekeys.networks.constraining import bake, constrain
from scalekeys.networks.diagnosis import Diagnosis, LayerError, diagnose
from scalekeys.networks.evaluating import Difference, Evaluation, evaluate
from scalekeys.networks.in_network import fit_in_network
from scalekeys.networks.patches import patch_covariance
from scalekeys.networks.recalibrating import recalibrate
from scalekeys.networks.replacing import replace
from scalekeys.networks.sensitivity import sensitivity

__all__ = [
    "Compression",
    "Diagnosis",
    "Difference",
    "Evaluation",
    "LayerError",
    "bake",
    "compress",
    "constrain",
    "diagnose",
    "evaluate",
    "fit_in_network",
    "patch_covariance",
    "recalibrate",
    "replace",
    "sensitivity",
]
