"""Whether the receptive field of the last layer and the inputs of the network have like sizes."""

from collections.abc import Sequence
from math import sqrt
from typing import TypeAlias

from scalekeys.checkup.advice import HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence
from scalekeys.errors import FilterError, listed
from scalekeys.filters.reach import Reach, Sides, predicted_reach
from scalekeys.networks import receptive_field
from scalekeys.shapes import Size, size_text

WIDTHS = 4
"""Standard deviations from end to end: a Gaussian has 95 % of its weight within two of them on either side."""

LEAST_SHARE = 0.1
"""The share of the variance that a layer must add before it is named."""

_INPUTS = 16
"""Images on which the field is measured."""

_WIDE = (
    "larger than the inputs",
    "try larger inputs, or smaller kernels in the layers that add most",
    "The outer taps of the last kernels stand on padding",
)
_NARROW = (
    "less than half of the inputs",
    "try larger kernels, dilation or an earlier stride, or smaller inputs",
    "Distant parts of the inputs meet in pooling alone, or not at all",
)
_Path: TypeAlias = Sequence[Reach]


def reach_needs(evidence: Evidence) -> str | None:
    """Say what is missing where the receptive field cannot be compared with the inputs."""
    if None in predicted_reach(evidence.bank):
        if all(layer.stride is not None for layer in evidence.bank.layers):
            return "the audit reach needs how far the samples of each layer lie apart, which this network does not tell"
        return (
            "the audit reach needs the strides of the network, which weights alone do not tell: give the network "
            "itself, or an ONNX or TFLite file of it"
        )
    return "the audit reach needs the size of the inputs (--size)" if evidence.inputs is None else None


def reach(evidence: Evidence) -> Advice | None:
    """Find whether the predicted field of the last layer is below half of the inputs, or larger than them."""
    path, noise = _known(predicted_reach(evidence.bank)), _known(predicted_reach(evidence.noise))
    if not path or evidence.inputs is None:
        return None
    sides = _checked(evidence.inputs, evidence.bank.axes)
    width = _widths(path[-1].sigma)
    shares = [wide / side for wide, side in zip(width, sides, strict=True)]
    if max(shares) >= 0.5 and min(shares) <= 1:
        return None
    places = _places(evidence, path, noise)
    flat = [sqrt(sum(values)) for values in zip(*(one.flat for one in path), strict=True)]
    what, action, why = _WIDE if min(shares) > 1 else _NARROW
    measured, do = _measured(evidence)
    added = listed([f"{place.layer} ({place.value:.0%})" for place in places], limit=3)
    return Advice(
        "reach",
        f"The predicted receptive field of the last layer is {_pixels(width)} wide, {what} ({size_text(sides)}); most "
        f"of its variance comes from {added}.",
        f"With matched noise in the place of the filters it would be {_pixels(_widths(noise[-1].sigma))} wide, and "
        f"with flat kernels, as white noise is on average, {_pixels(_widths(flat))}. The prediction adds the variances "
        f"of layers as on a single path; residual connections make the field smaller.{measured}",
        f"{do}{action}.",
        None,
        f"{why}; whether accuracy gains has to be tried.",
        HINT,
        evidence.share(places),
        places,
        "share of the variance of the field",
    )


def _measured(evidence: Evidence) -> tuple[str, str]:
    """Say how wide the field is on some of the images, if there are any, and what to do."""
    if evidence.responses is None:
        return "", "Measure the field on images with sk.receptive_field; if it agrees, "
    some, last = evidence.responses.learning[0][:_INPUTS], evidence.bank.layers[-1].name
    (field,) = receptive_field(evidence.responses.network, some, layers=[last])
    return f" Measured on {len(some)} of the images it is {_pixels(field.width)} wide.", "If both agree, "


def _places(evidence: Evidence, path: _Path, noise: _Path) -> tuple[Place, ...]:
    """Return the layers that add most, the greatest share first, beside the share that noise adds there."""
    total, control = (sum(sum(one.added) for one in each) or 1.0 for each in (path, noise))
    places = (
        Place(
            layer.name, size_text(layer.size), len(layer), len(layer), sum(mine.added) / total, sum(its.added) / control
        )
        for layer, mine, its in zip(evidence.bank.layers, path, noise, strict=True)
    )
    found = sorted(places, key=lambda place: -place.value)
    return tuple(place for index, place in enumerate(found) if not index or place.value >= LEAST_SHARE)


def _known(path: Sequence[Reach | None]) -> _Path:
    return () if None in path else [one for one in path if one is not None]


def _widths(sigma: Sequence[float]) -> Sides:
    return tuple(WIDTHS * one for one in sigma)


def _pixels(width: Sides) -> str:
    return f"{' x '.join(f'{one:.0f}' for one in width)} pixels"


def _checked(sides: Size, axes: int) -> Size:
    whole = sides * axes if len(sides) == 1 else sides
    if len(whole) != axes or min(whole) < 1:
        raise FilterError(
            f"the size of the inputs must be one number of at least 1, or {axes} of them; got {size_text(sides)}"
        )
    return whole
