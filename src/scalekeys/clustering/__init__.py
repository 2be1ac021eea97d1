"""Clustering: the few filters, the keys, behind the many of one network or more."""

from scalekeys.clustering.api import cluster, distinct_filters, with_other_keys
from scalekeys.clustering.choice import FOUND_AGAIN, KChoice, choose_k
from scalekeys.clustering.held_out import HeldOut, held_out_cover
from scalekeys.clustering.keys import COVERED, Keys
from scalekeys.clustering.spec import SYMMETRIES, WEIGHTINGS, ClusterSpec

__all__ = [
    "COVERED",
    "FOUND_AGAIN",
    "SYMMETRIES",
    "WEIGHTINGS",
    "ClusterSpec",
    "HeldOut",
    "KChoice",
    "Keys",
    "choose_k",
    "cluster",
    "distinct_filters",
    "held_out_cover",
    "with_other_keys",
]
