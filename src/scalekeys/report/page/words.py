"""Numbers and lists as a reader should see them, the same on the whole page."""

import math
import re
from collections.abc import Sequence

from markupsafe import Markup, escape

AXES = ("x", "y", "z")
"""Names of the axes of a kernel, from the last one of its array to the first."""

NONE = "\N{EN DASH}"
"""What stands where there is no number."""

ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
SIGMA_X, SIGMA_Y, SIGMA_Z = (f"{SIGMA}<sub>{axis}</sub>" for axis in AXES)
"""Symbols as markup, for the labels of plots."""

INFINITY = "\N{INFINITY}"
"""An infinite scale."""

MINUS = "\N{MINUS SIGN}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NOTATION = (
    (re.compile(r"δ([xyz]+)([+-]?)"), r"δ<sub>\1\2</sub>"),
    (re.compile(r"\bt([xyz])\b"), r"t<sub>\1</sub>"),
    (re.compile(r"∇([57])²"), r"∇<sub>\1</sub>²"),
    (re.compile(r"(?<=\w) - "), f" {MINUS} "),
    (re.compile(r"-(?=</sub>)"), MINUS),
)
_SYMBOLS = {"sigma_x": SIGMA_X, "sigma_y": SIGMA_Y, "sigma_z": SIGMA_Z, "sigma": SIGMA, "alpha": ALPHA}


def number(value: float | None, digits: int = 2) -> str:
    """Format a number with a fixed count of decimals, and a true minus sign.

    Examples
    --------
    >>> number(-0.126), number(None), number(float("nan")), number(float("inf"))
    ('−0.13', '–', '–', '∞')
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return INFINITY if value > 0 else MINUS + INFINITY
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def number_in(value: float, low: float, high: float) -> str:
    """Format a number with its interval.

    Examples
    --------
    >>> number_in(0.5, -0.1, 0.9)
    '0.50 (−0.10 to 0.90)'
    """
    return f"{number(value)} ({number(low)} to {number(high)})"


def significant(value: float | None, digits: int = 3) -> str:
    """Format a number with significant digits, for quantities without a natural range.

    Examples
    --------
    >>> significant(0.0012345), significant(-12345.6), significant(0.5)
    ('0.00123', '−1.23×10⁴', '0.5')
    """
    if value is None or not math.isfinite(value):
        return NONE
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if exponent:
        mantissa += f"{_TIMES}10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return mantissa.replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage.

    Examples
    --------
    >>> percent(0.838).replace(chr(0xA0), " ")
    '83.8 %'
    """
    return NONE if value is None or not math.isfinite(value) else f"{number(100 * value, digits)}{_SPACE}%"


def points(value: float | None) -> str:
    """Format a difference of shares in percentage points, with its sign.

    Examples
    --------
    >>> points(0.123), points(-0.0101), points(None)
    ('+12.3', '−1.0', '–')
    """
    return NONE if value is None else ("+" if round(value, 3) > 0 else "") + number(100 * value, 1)


def count(value: int) -> str:
    """Format a count; from ten thousand on, thousands stand apart.

    Examples
    --------
    >>> count(3416), count(20000).replace(chr(0xA0), " ")
    ('3416', '20 000')
    """
    return f"{value:,}".replace(",", _SPACE) if value >= 10_000 else str(value)


def plural(value: int, noun: str, several: str | None = None) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "layer"), plural(3, "layer"), plural(2, "family", "families")
    ('1 layer', '3 layers', '2 families')
    """
    return f"{count(value)} {noun if value == 1 else several or noun + 's'}"


def spelled(value: int) -> str:
    """Return a small number as a word.

    Examples
    --------
    >>> spelled(8), spelled(40)
    ('eight', '40')
    """
    return _SMALL[value] if 0 <= value < len(_SMALL) else count(value)


def listed(words: Sequence[str]) -> str:
    """Join words as in a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def sentence(text: str) -> str:
    """Return a clause as a sentence.

    Examples
    --------
    >>> sentence("all is well"), sentence("")
    ('All is well.', '')
    """
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") or not text else ".")


def size_name(size: str) -> str:
    """Return a kernel size with a multiplication sign.

    Examples
    --------
    >>> size_name("7x7"), size_name("31")
    ('7×7', '31')
    """
    return size.replace("x", _TIMES)


def size_words(size: str) -> str:
    """Return a kernel size that says by itself what it is.

    Examples
    --------
    >>> size_words("7x7"), size_words("31")
    ('7×7', '31 taps')
    """
    return size_name(size) if "x" in size else plural(int(size), "tap")


def kernels_of(size: str) -> str:
    """Return what kernels of a size are called in a sentence.

    Examples
    --------
    >>> kernels_of("7x7"), kernels_of("31")
    ('7×7 kernels', 'kernels of 31 taps')
    """
    return f"{size_words(size)} kernels" if "x" in size else f"kernels of {size_words(size)}"


def unit_of(axes: int) -> str:
    """Return in which steps the scales of kernels of so many axes are given.

    Examples
    --------
    >>> unit_of(1), unit_of(2)
    ('taps', 'pixels')
    """
    return "taps" if axes == 1 else "pixels"


def input_unit_of(axes: int) -> str:
    """Return in which steps of the input of the network scales are given.

    Examples
    --------
    >>> input_unit_of(1), input_unit_of(2)
    ('input samples', 'input pixels')
    """
    return "input samples" if axes == 1 else "input pixels"


def taps_in(size: str) -> int:
    """Return how many taps a kernel of a size has.

    Examples
    --------
    >>> taps_in("7x7"), taps_in("31"), taps_in("5x3x3")
    (49, 31, 45)
    """
    return math.prod(map(int, size.split("x")))


def formula(text: str) -> Markup:
    """Set the formula of a family with subscripts.

    Examples
    --------
    >>> formula("T(x; tx) · δy+ T(y; ty)")
    Markup('T(x; t<sub>x</sub>) · δ<sub>y+</sub> T(y; t<sub>y</sub>)')
    """
    typeset = str(escape(text))
    for pattern, replacement in _NOTATION:
        typeset = pattern.sub(replacement, typeset)
    return Markup(typeset)  # escaped first; only the markup of the table above is added


def prose(text: str) -> Markup:
    """Escape a sentence of ours and set the names of parameters in it as symbols.

    Examples
    --------
    >>> prose("sigma_x < 1")
    Markup('σ<sub>x</sub> &lt; 1')
    """
    return Markup(re.sub(r"\b(?:sigma(?:_[xyz])?|alpha)\b", lambda match: _SYMBOLS[match[0]], str(escape(text))))


def breakable(text: str) -> Markup:
    """Let a long name break after its separators.

    Examples
    --------
    >>> breakable("stages.0<dw")
    Markup('stages.<wbr>0&lt;dw')
    """
    pieces = [str(escape(piece)) for piece in re.findall(r"[^./_\- ]*[./_\- ]|[^./_\- ]+", text)]
    return Markup("<wbr>".join(pieces))


def plot_text(text: str, width: int = 0) -> str:
    """Escape a text for the labels of a plot, which read a little markup; wrap it at separators past a width.

    Examples
    --------
    >>> plot_text("a<b")
    'a&lt;b'
    >>> plot_text("stages.0.blocks.1", 10)
    'stages.0.<br>blocks.1'
    """
    lines = [""]
    for piece in re.findall(r"[^./_\- ]*[./_\- ]?", text):
        for part in [piece[i : i + width] for i in range(0, len(piece), width)] if width else [piece]:
            if width and lines[-1] and len(lines[-1]) + len(part) > width:
                lines.append("")
            lines[-1] += part
    escaped = (line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines)
    return "<br>".join(escaped)


def shortened(text: str, width: int) -> str:
    """Cut the middle out of a text that is longer than a width.

    Examples
    --------
    >>> shortened("stages.0.blocks.1.depthwise", 15)
    'stages.…pthwise'
    """
    if len(text) <= width:
        return text
    return f"{text[: width // 2]}…{text[-((width - 1) // 2) :]}"


def distinct_parts(names: Sequence[str]) -> list[str]:
    """Drop the leading and trailing dotted parts that all names share, for short labels.

    Examples
    --------
    >>> distinct_parts(["net.blocks.0.dw.conv", "net.blocks.1.dw.conv"])
    ['blocks.0', 'blocks.1']
    >>> distinct_parts(["stem"])
    ['stem']
    """
    split = [name.split(".") for name in names]
    if len(set(names)) < 2:
        return list(names)
    shortest = min(map(len, split))
    head = next((i for i in range(shortest) if len({parts[i] for parts in split}) > 1), shortest - 1)
    head = max(head - 1, 0)  # the word before the first difference says what the number counts
    tail = next((i for i in range(shortest) if len({parts[-1 - i] for parts in split}) > 1), shortest - 1)
    tail = min(tail, shortest - head - 1)
    return [".".join(parts[head : len(parts) - tail]) for parts in split]
