"""Figures of conditions, as a reader should see them."""

from scalekeys.report.page.words import number, percent
from scalekeys.training.comparison import Spread


def with_spread(spread: Spread | None) -> str:
    """Write a share with its standard deviation.

    Examples
    --------
    >>> with_spread(Spread(0.8512, 0.0021, 3)).replace(chr(0xA0), " "), with_spread(Spread(0.8512, None, 1))[:4]
    ('85.1 ± 0.2 %', '85.1')
    """
    if spread is None or spread.std is None:
        return percent(None if spread is None else spread.mean)
    return f"{number(100 * spread.mean, 1)} ± {percent(spread.std)}"


def duration(seconds: float | None) -> str:
    """Write a time in the unit that suits it.

    Examples
    --------
    >>> [duration(seconds).replace(chr(0xA0), " ") for seconds in (4.2, 250, 9000)]
    ['4 s', '4.2 min', '2.5 h']
    """
    for unit, length, digits in (("h", 3600, 1), ("min", 60, 1)):
        if seconds is not None and seconds >= length:
            return f"{number(seconds / length, digits)}\N{NO-BREAK SPACE}{unit}"
    return number(seconds, 0) + ("" if seconds is None else "\N{NO-BREAK SPACE}s")
