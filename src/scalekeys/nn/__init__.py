"""Layers to build networks with: depthwise convolutions whose kernels are scale-space families at learned scales."""

from scalekeys.nn.convolution import ScaleSpaceConv1d, ScaleSpaceConv2d, ScaleSpaceConv3d

__all__ = ["ScaleSpaceConv1d", "ScaleSpaceConv2d", "ScaleSpaceConv3d"]
