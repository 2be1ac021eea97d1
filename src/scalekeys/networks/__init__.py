"""Networks as modules: inputs of depthwise layers, measurements, and changes of weights."""

from scalekeys.networks.changing.compress import Compression, compress
from scalekeys.networks.changing.crop import Cropping, crop
from scalekeys.networks.changing.fit_in_network import fit_in_network
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.replace import replace
from scalekeys.networks.changing.separate.loading import load_separated
from scalekeys.networks.changing.separate.separate import separate
from scalekeys.networks.changing.separate.separation import Separation
from scalekeys.networks.constrained.constrain import bake, constrain
from scalekeys.networks.measuring.diagnosis import Diagnosis, LayerError, diagnose
from scalekeys.networks.measuring.evaluation import AccuracyDifference, Evaluation, evaluate
from scalekeys.networks.measuring.key_curve import KeyCurve, key_curve
from scalekeys.networks.measuring.key_elimination import KeyElimination, eliminate_keys, replaced_by_keys
from scalekeys.networks.measuring.output_error import OutputError, output_error
from scalekeys.networks.measuring.patch_covariance import patch_covariance
from scalekeys.networks.measuring.receptive_field import ReceptiveField, receptive_field
from scalekeys.networks.measuring.sensitivity import sensitivity
from scalekeys.networks.pruning.prune import Pruning, prune_dead
from scalekeys.networks.pruning.resized import load_pruned

__all__ = [
    "AccuracyDifference",
    "Compression",
    "Cropping",
    "Diagnosis",
    "Evaluation",
    "KeyCurve",
    "KeyElimination",
    "LayerError",
    "OutputError",
    "Pruning",
    "ReceptiveField",
    "Separation",
    "bake",
    "compress",
    "constrain",
    "crop",
    "diagnose",
    "eliminate_keys",
    "evaluate",
    "fit_in_network",
    "key_curve",
    "load_pruned",
    "load_separated",
    "output_error",
    "patch_covariance",
    "prune_dead",
    "recalibrate",
    "receptive_field",
    "replace",
    "replaced_by_keys",
    "sensitivity",
    "separate",
]
