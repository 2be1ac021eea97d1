"""Discrete scale-space kernels: the discrete analogue of the Gaussian, differences, and the idealized families.

A leaf of the package: pure functions of tensors, differentiable, batched over leading axes.
"""

from scalekeys.scalespace.differences import (
    BACKWARD,
    CENTRAL,
    DIFFERENCES,
    FIFTH,
    FORWARD,
    FOURTH,
    IDENTITY,
    SECOND,
    SIXTH,
    THIRD,
    WINDOWS,
    Difference,
    Window,
    compose,
    difference,
    difference_matrix,
    laplacian_stencil,
    mixed_stencil,
)
from scalekeys.scalespace.discretisations import (
    integrated_gaussian,
    linearly_integrated_gaussian,
    normalized_sampled_gaussian,
    sampled_gaussian,
)
from scalekeys.scalespace.families import FAMILIES, IDEAL8, JETS, SECOND_ORDER, WIDE_JET, Family, Term, family
from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.scalespace.templates import GAP, Order, TemplatePlan, template, template_plan

__all__ = [
    "BACKWARD",
    "CENTRAL",
    "DIFFERENCES",
    "FAMILIES",
    "FIFTH",
    "FORWARD",
    "FOURTH",
    "GAP",
    "IDEAL8",
    "IDENTITY",
    "JETS",
    "SECOND",
    "SECOND_ORDER",
    "SIXTH",
    "THIRD",
    "WIDE_JET",
    "WINDOWS",
    "Difference",
    "Family",
    "Order",
    "TemplatePlan",
    "Term",
    "Window",
    "compose",
    "difference",
    "difference_matrix",
    "discrete_gaussian",
    "family",
    "integrated_gaussian",
    "laplacian_stencil",
    "linearly_integrated_gaussian",
    "mixed_stencil",
    "normalized_sampled_gaussian",
    "sampled_gaussian",
    "template",
    "template_plan",
]
