"""Which loss a request for a fit means."""

from scalekeys.fitting.losses.base import Loss
from scalekeys.fitting.losses.least_absolute import AffineAbsolute, MomentAbsolute
from scalekeys.fitting.losses.least_squares import AffineSquares, MomentSquares, Squares
from scalekeys.fitting.losses.responses import ResponseSquares
from scalekeys.fitting.spec import FitSpec


def loss_of(spec: FitSpec) -> type[Loss]:
    """Return the loss of a spec; criteria that compare widths use that of l2 for what they leave open."""
    if spec.criterion == "l1":
        return AffineAbsolute if spec.normalization == "affine" else MomentAbsolute
    if spec.criterion == "response":
        return ResponseSquares
    return squares_of(spec)


def squares_of(spec: FitSpec) -> type[Squares]:
    """Return the loss of least squares with the normalization of a spec."""
    return AffineSquares if spec.normalization == "affine" else MomentSquares
