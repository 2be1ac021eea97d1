"""Networks as they run: what their depthwise layers see."""

from scalekeys.networks.patches import patch_covariance

__all__ = ["patch_covariance"]
