"""Draw the layers of the package: ``python docs/figures/layers.py docs/images/layers.svg``.

The rows are those of the contract in pyproject.toml that import-linter checks, and the words are the first sentences of
the packages, so that the picture says what the code says.
"""

import ast
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "scalekeys"
WIDTH, MARGIN, NAME, LETTERS = 760, 28, 118, 88
LINE, GAP = 16, 5
PLAIN, FILELESS = "#eef2f7", "#dcefe3"


def contracts() -> list[dict[str, Any]]:
    """Return the contracts of import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def layers() -> list[list[str]]:
    """Return the packages of each layer, from the top to the bottom."""
    rows = next(contract["layers"] for contract in contracts() if contract["type"] == "layers")
    return [[name.strip() for name in row.split("|")] for row in rows]


def without_files() -> set[str]:
    """Return the packages that may not import the reading of files."""
    rules = [contract for contract in contracts() if "scalekeys.files" in contract.get("forbidden_modules", ())]
    return {name.removeprefix("scalekeys.") for contract in rules for name in contract["source_modules"]}


def first_sentence(package: str) -> str:
    """Return the first line of the docstring of a package, as plain text."""
    path = PACKAGE / package / "__init__.py"
    text = (path if path.exists() else PACKAGE / f"{package}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0].replace("``", "").rstrip(".")


def main(output: Path) -> None:
    """Write the picture."""
    output.write_text(drawn(), encoding="utf-8")


def drawn() -> str:
    """Return the picture as SVG."""
    body, top = [], GAP
    for row in layers():
        words = textwrap.wrap(first_sentence(row[0]), LETTERS) if len(row) == 1 else []
        height = LINE * max(1, len(words)) + 12
        body += _row(row, words, top, height)
        top += height + GAP
    body.append(
        f'<path d="M12 {GAP} V{top - GAP - 8} M6 {top - GAP - 10} L12 {top - GAP} L18 {top - GAP - 10}" '
        'fill="none" stroke="#5b6675" stroke-width="2"/>'
    )
    label = "An import points down only. Green packages know no files."
    body.append(f'<text x="{MARGIN}" y="{top + LINE}" fill="#5b6675">{label}</text>')
    size = f'width="{WIDTH}" height="{top + 2 * LINE}" viewBox="0 0 {WIDTH} {top + 2 * LINE}"'
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#1c2430"'
    back = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img">'
    return "\n".join([head, "<title>The layers of scalekeys</title>", back, *body, "</svg>"]) + "\n"


def _row(names: list[str], words: list[str], top: int, height: int) -> Iterator[str]:
    """Draw the packages of one layer beside each other; a package that has its layer for itself with its sentence."""
    width = (WIDTH - MARGIN - GAP * len(names)) / len(names)
    for place, name in enumerate(names):
        left = MARGIN + place * (width + GAP)
        colour = FILELESS if name in without_files() else PLAIN
        yield f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" rx="4" fill="{colour}"/>'
        yield f'<text x="{left + 10:.1f}" y="{top + LINE + 3}" font-weight="600">{name}</text>'
    for place, line in enumerate(words):
        yield f'<text x="{MARGIN + NAME}" y="{top + LINE * (place + 1) + 3}">{escape(line)}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
