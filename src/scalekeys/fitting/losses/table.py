"""Which loss a request for a fit means."""

from scalekeys.fitting.losses.base import Loss
from scalekeys.fitting.losses.least_absolute import AffineAbsolute, MomentAbsolute
from scalekeys.fitting.losses.least_squares import AffineSquares, MomentSquares
from scalekeys.fitting.losses.responses import ResponseSquares
from scalekeys.fitting.spec import Criterion, FitSpec, Normalization

_SQUARES: dict[Normalization, type[Loss]] = {"affine": AffineSquares, "moment": MomentSquares}

_LOSSES: dict[Criterion, dict[Normalization, type[Loss]]] = {
    "l2": _SQUARES,
    "l1": {"affine": AffineAbsolute, "moment": MomentAbsolute},
    "response": {"affine": ResponseSquares},
    "variance": _SQUARES,
    "variance-continuous": _SQUARES,
}


def loss_of(spec: FitSpec) -> type[Loss]:
    """Return the loss of a spec; criteria that compare widths use that of l2 for what they leave open."""
    return _LOSSES[spec.criterion][spec.normalization]
