"""Which loss a request for a fit means."""

from scalekeys.fitting.loss import Loss
from scalekeys.fitting.response import ResponseSquares
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.squares import AffineSquares, MomentSquares, Squares
from scalekeys.fitting.sums import AffineAbsolute, MomentAbsolute


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
