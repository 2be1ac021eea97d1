"""Whether filters gain from a free angle, beside both controls: shares with intervals, and what they mean in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from scalekeys.proportions import wilson_interval
from scalekeys.report.page.document import paragraph
from scalekeys.report.page.words import kernels_of, percent


@dataclass(frozen=True)
class Share:
    """The share of filters that gain, with Wilson's interval of 95 %, which counts filters as independent."""

    filters: int
    gaining: int
    share: float
    low: float
    high: float


class Verdict(Enum):
    """How the filters compare with both kinds of noise."""

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
        """Whether fewer filters gain than of both kinds of noise, or more than of one and not fewer than of the other.

        Otherwise it cannot be told. White noise counts because matched noise shares the angles that a layer prefers.
        """
        below = [self.real.high < noise.low for noise in (self.matched, self.white)]
        above = [self.real.low > noise.high for noise in (self.matched, self.white)]
        if all(below):
            return Verdict.FEWER
        return Verdict.MORE if any(above) and not any(below) else Verdict.UNCLEAR


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
    >>> few, many = share_of(10, 1000), share_of(100, 1000)
    >>> meaning([Orientation("7x7", few, many, many)]).replace(chr(0xA0), " ")
    'Of 7×7 kernels fewer filters gain than of matched and of white noise (1.0 % against 10.0 % and 10.0 %): ...
    """
    groups = []
    for verdict in Verdict:
        mine = [one for one in found if one.verdict is verdict]
        if mine:
            groups.append((verdict.value, [kernels_of(one.size) for one in mine], ", ".join(map(_shares, mine))))
    return paragraph("page/orientation.txt.j2", "meaning", groups=groups) if groups else ""


def _shares(one: Orientation) -> str:
    return f"{percent(one.real.share)} against {percent(one.matched.share)} and {percent(one.white.share)}"
