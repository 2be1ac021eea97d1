"""Explain, replace and train the depthwise filters of deep networks as discrete scale-space filters.

The public names load on first use, so that importing the package, and ``scalekeys --help``, stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scalekeys.version import __version__

if TYPE_CHECKING:
    from scalekeys import atlas, nn, scalespace
    from scalekeys.checkpoints import extract, write_replaced
    from scalekeys.checkup import check
    from scalekeys.clustering import choose_k, cluster
    from scalekeys.errors import (
        AtlasError,
        CheckpointError,
        DataError,
        FilterError,
        MissingExtraError,
        ModelError,
        OutputError,
        ScaleKeysError,
    )
    from scalekeys.filters import (
        MASTER_KEY_FAMILIES,
        FilterBank,
        LayerFilters,
        assign_keys,
        dc_offset,
        master_keys,
        matched_noise_like,
        moment_normalization,
        replacement,
        separability,
        spread,
        white_noise_like,
    )
    from scalekeys.fitting import fit, formation, ladder, natural_image_covariance, orientation
    from scalekeys.modelling import model_filters
    from scalekeys.networks import (
        bake,
        compress,
        constrain,
        crop,
        diagnose,
        eliminate_keys,
        evaluate,
        fit_in_network,
        load_pruned,
        load_separated,
        patch_covariance,
        prune_dead,
        recalibrate,
        receptive_field,
        replace,
        sensitivity,
        separate,
    )
    from scalekeys.report import write_report
    from scalekeys.report.atlas import write_atlas_report
    from scalekeys.report.explorer import explore
    from scalekeys.report.findings import write_findings

_HOMES = {
    "checkpoints": "extract write_replaced",
    "checkup": "check",
    "clustering": "choose_k cluster",
    "errors": "AtlasError CheckpointError DataError FilterError MissingExtraError ModelError OutputError "
    "ScaleKeysError",
    "filters": "MASTER_KEY_FAMILIES FilterBank LayerFilters assign_keys dc_offset master_keys matched_noise_like "
    "moment_normalization white_noise_like replacement separability spread",
    "fitting": "fit formation ladder natural_image_covariance orientation",
    "modelling": "model_filters",
    "networks": "bake compress constrain crop diagnose eliminate_keys evaluate fit_in_network load_pruned "
    "load_separated patch_covariance prune_dead recalibrate receptive_field replace sensitivity separate",
    "report": "write_report",
    "report.atlas": "write_atlas_report",
    "report.explorer": "explore",
    "report.findings": "write_findings",
}
_MODULES = ("atlas", "nn", "scalespace")
_HOME_OF = {name: f"scalekeys.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "MASTER_KEY_FAMILIES",
    "AtlasError",
    "CheckpointError",
    "DataError",
    "FilterBank",
    "FilterError",
    "LayerFilters",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "ScaleKeysError",
    "__version__",
    "assign_keys",
    "atlas",
    "bake",
    "check",
    "choose_k",
    "cluster",
    "compress",
    "constrain",
    "crop",
    "dc_offset",
    "diagnose",
    "eliminate_keys",
    "evaluate",
    "explore",
    "extract",
    "fit",
    "fit_in_network",
    "formation",
    "ladder",
    "load_pruned",
    "load_separated",
    "master_keys",
    "matched_noise_like",
    "model_filters",
    "moment_normalization",
    "natural_image_covariance",
    "nn",
    "orientation",
    "patch_covariance",
    "prune_dead",
    "recalibrate",
    "receptive_field",
    "replace",
    "replacement",
    "scalespace",
    "sensitivity",
    "separability",
    "separate",
    "spread",
    "white_noise_like",
    "write_atlas_report",
    "write_findings",
    "write_replaced",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"scalekeys.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'scalekeys' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
