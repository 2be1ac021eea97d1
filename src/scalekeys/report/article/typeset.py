"""Words and symbols of an article, set for a page and for LaTeX.

Own sentences name symbols in plain letters (``sigma_x``, ``r2``, ``|K - N|``); what comes from elsewhere is
escaped only.
"""

import re

from markupsafe import Markup

from scalekeys.report.page.words import MINUS, prose

_HTML = (
    (re.compile(r"\bV(xx|xy|yy)\b"), r"V<sub>\1</sub>"),
    (re.compile(r"\bgamma\b"), "\N{GREEK SMALL LETTER GAMMA}"),
    (re.compile(r"\bL5\b"), "L<sub>5</sub>"),
    (re.compile(r"\br2\b"), "r²"),
    (re.compile(r"\bsqrt\b"), "\N{SQUARE ROOT}"),
    (re.compile(r" - (?=\w)"), f" {MINUS} "),
    (re.compile(r"(?<![\w.])-(?=\d)"), MINUS),
)
_TEX = (
    (re.compile(r"\|K - N\| / \|N\|"), r"$|K-N|/|N|$"),
    (re.compile(r"\|K - N\|"), r"$|K-N|$"),
    (re.compile(r"\bsqrt\(det V\(\|h - C\|\)\)"), r"$\\sqrt{\\det V(|h-C|)}$"),
    (re.compile(r"\bV(xx|xy|yy)\b"), r"$V_{\1}$"),
    (re.compile(r"\b([MVh]\(\|h\|(?: w)?\))"), r"$\1$"),
    (re.compile(r"\bsigma\\_([xy])\b"), r"$\\sigma_\1$"),
    (re.compile(r"\b(sigma|alpha|gamma)\b"), r"$\\\1$"),
    (re.compile(r"\br2\b"), r"$r^2$"),
    (re.compile(r"\bL5\b"), r"$L_5$"),
    (re.compile(r"(?<=\w) - (?=[\w$])"), r" $-$ "),
    (re.compile(r"(?<![\w.$-])-(?=\d)"), r"$-$"),
)
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def html(text: str) -> Markup:
    """Set a sentence of ours for a page.

    Examples
    --------
    >>> html("V(|h|) < r2, Vxy = -0.1")
    Markup('V(|h|) &lt; r², V<sub>xy</sub> = −0.1')
    """
    typeset = str(prose(text))
    for pattern, replacement in _HTML:
        typeset = pattern.sub(replacement, typeset)
    return Markup(typeset)  # escaped by prose; only the markup of the table above is added


def tex(text: str) -> str:
    r"""Set a sentence of ours for LaTeX.

    Examples
    --------
    >>> print(tex("sigma_x by |K - N| / |N|, 5 %"))
    $\sigma_x$ by $|K-N|/|N|$, 5 \%
    """
    typeset = escape_tex(text)
    for pattern, replacement in _TEX:
        typeset = pattern.sub(replacement, typeset)
    return typeset


def escape_tex(text: str) -> str:
    r"""Escape what LaTeX would take for a command; line ends and control characters become spaces.

    Examples
    --------
    >>> print(escape_tex("50%_of{it}\n"))
    50\%\_of\{it\}
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    return "".join(_SPECIAL.get(character, character) for character in printable).strip()
