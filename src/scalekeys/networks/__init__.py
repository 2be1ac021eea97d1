"""Networks as they run: what their depthwise layers see, and other weights for them."""

from scalekeys.networks.changing.compress import Compression, compress
from scalekeys.networks.changing.fit_in_network import fit_in_network
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.replace import replace
from scalekeys.networks.constrained.constrain import bake, constrain
from scalekeys.networks.measuring.diagnosis import Diagnosis, LayerError, diagnose
from scalekeys.networks.measuring.evaluation import AccuracyDifference, Evaluation, evaluate
from scalekeys.networks.measuring.key_elimination import (
    KeyElimination,
    eliminate_keys,
    output_error,
    replaced_by_keys,
)
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.measuring.sensitivity import sensitivity

__all__ = [
    "AccuracyDifference",
    "Compression",
    "Diagnosis",
    "Evaluation",
    "KeyElimination",
    "LayerError",
    "bake",
    "compress",
    "constrain",
    "diagnose",
    "eliminate_keys",
    "evaluate",
    "fit_in_network",
    "output_error",
    "patch_covariance",
    "recalibrate",
    "replace",
    "replaced_by_keys",
    "sensitivity",
]
