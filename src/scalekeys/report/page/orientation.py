"""Whether filters gain from a free angle, beside both controls: shares with intervals, and what they mean in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from scalekeys.proportions import wilson_interval
from scalekeys.report.page.words import kernels_of, listed, percent


@dataclass(frozen=True)
class Share:
    """The share of filters that gain, with Wilson's interval of 95 %, which counts filters as independent."""

    filters: int
    gaining: int
    share: float
    low: float
    high: float


class Verdict(Enum):
    """How the filters compare with matched noise."""

    FEWER = "fewer"
    MORE = "more"
    UNCLEAR = "cannot tell"


@dataclass(frozen=True)
class Orientation:
    """The filters of one kernel size that gain more than 0.05 from a free angle, beside both controls."""

    size: str
    real: Share
    white: Share
    matched: Share

    @property
    def verdict(self) -> Verdict:
        """Whether fewer or more filters gain than of matched noise; it cannot be told where the intervals overlap."""
        if self.real.high < self.matched.low:
            return Verdict.FEWER
        return Verdict.MORE if self.real.low > self.matched.high else Verdict.UNCLEAR


def share_of(gaining: int, filters: int) -> Share:
    """Return a share with its interval.

    Examples
    --------
    >>> share = share_of(5, 100)
    >>> f"{share.low:.3f} to {share.high:.3f}"
    '0.022 to 0.112'
    """
    return Share(filters, gaining, gaining / filters, *wilson_interval(gaining, filters))


def meaning(found: Sequence[Orientation]) -> str:
    """Say in a sentence what the shares mean, for the kernel sizes of each verdict.

    Examples
    --------
    >>> few, many = share_of(10, 1000), share_of(12, 1000)
    >>> meaning([Orientation("7x7", few, many, many)]).replace(chr(0xA0), " ")
    'For 7×7 kernels the intervals of filters and matched noise overlap (1.0 % against 1.2 %), so that ... cannot tell.'
    """
    parts = []
    for verdict, words in _WORDS.items():
        mine = [one for one in found if one.verdict is verdict]
        if mine:
            kernels = listed([kernels_of(one.size) for one in mine])
            shares = listed([f"{percent(one.real.share)} against {percent(one.matched.share)}" for one in mine])
            parts.append(words.format(kernels=kernels, shares=shares))
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


_WORDS = {
    Verdict.FEWER: (
        "of {kernels} fewer filters gain than of matched noise ({shares}): the filters are aligned with the axes, more "
        "than their smoothness and extent alone would make them"
    ),
    Verdict.MORE: (
        "of {kernels} more filters gain than of matched noise ({shares}): some filters have receptive fields that lie "
        "along other angles"
    ),
    Verdict.UNCLEAR: (
        "for {kernels} the intervals of filters and matched noise overlap ({shares}), so that the figures cannot tell"
    ),
}
