"""The pages of documentation: their links, their place in the site, and the names that the reference holds."""

import ast
import doctest
import re
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
DOCS, SOURCE = ROOT / "docs", ROOT / "src" / "scalekeys"
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"gallery", "generated"} & set(page.parts))
WRITTEN = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
PUBLIC = ("atlas", "nn", "paper", "scalespace", "training")


def named(path):
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(page):
    """Links with their targets, and the anchors of a page, as a forge gives them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    links = [
        token.attrs.get("href", token.attrs.get("src")) for token in inline if token.type in ("link_open", "image")
    ]
    titles = [tokens[place + 1].children for place, token in enumerate(tokens) if token.type == "heading_open"]
    anchors = [slug("".join(part.content for part in title)) for title in titles]
    html = "".join(token.content for token in (*tokens, *inline) if token.type.startswith("html"))
    return links, [*anchors, *re.findall(r'id="([\w-]+)"', html)]


def slug(title):
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def faults_of_links(page):
    """Links of a page that lead nowhere within the repository."""
    links, _ = parsed(page)
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"\w+:", link):
            continue
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and (target.suffix != ".md" or anchor not in parsed(target)[1]):
            yield f"{link}: no such anchor"


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_links_and_anchors_lead_somewhere(page):
    assert list(faults_of_links(page)) == []


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "other.md").write_text('# A title, `code`\n<a id="own"></a>\n')
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-title-code) [b](other.md#own) [c](none.md) [d](#here) ![e](e.png) [f](https://x.org)"
    )
    assert list(faults_of_links(page)) == ["none.md: no such file", "#here: no such anchor", "e.png: no such file"]


def in_toctrees(page, seen):
    """Pages that the navigation reaches from a page."""
    seen.add(page)
    for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for entry in (line for line in tree.splitlines() if line and not line.startswith((":", "gallery/"))):
            name = re.sub(r".*<(.*)>", r"\1", entry)
            in_toctrees((page.parent / f"{name}.md").resolve(), seen)
    return seen


def test_every_page_is_in_the_navigation():
    assert in_toctrees(DOCS / "index.md", set()) == set(PAGES)


def test_every_public_name_is_in_the_reference():
    packages = ("scalekeys", *(f"scalekeys.{name}" for name in PUBLIC))
    public = {f"{package}.{name}" for package in packages for name in exported(package)}
    assert public - names_of_the_reference() - {"scalekeys.__version__", *packages} == set()


def test_every_name_of_the_reference_is_exported_by_its_package():
    """So that no public name vanishes unseen."""
    names = [name.rpartition(".") for name in names_of_the_reference() - {f"scalekeys.{name}" for name in PUBLIC}]
    packages = {package for package, _, _ in names if init_of(package).exists()}
    assert {f"scalekeys.{name}" for name in PUBLIC} <= packages
    lost = {f"{package}.{name}" for package, _, name in names if package in packages and name not in exported(package)}
    assert lost == {"scalekeys.NAME"}  # which stands for any


@cache
def names_of_the_reference():
    listed = set()
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        listed |= set(re.findall(r"`(scalekeys\.[\w.]+)`", text))
        for module, names in re.findall(
            r"currentmodule:: ([\w.]+)\n\n\.\. autosummary::\n   :toctree: generated\n(.*?)```", text, re.DOTALL
        ):
            listed |= {f"{module}.{name}" for name in names.split()}
    return listed


def test_a_constant_is_explained_by_the_package_that_exports_it():
    pytest.importorskip("sphinx")
    docstrings = loaded(DOCS / "site" / "docstrings.py")
    lines = []
    docstrings._readable(None, "data", "scalekeys.scalespace.GAP", None, None, lines)
    assert lines[0].startswith("Smallest difference of the two variances")
    assert docstrings._sentence("scalekeys.scalespace.AXES").startswith("Names of the axes; a kernel of D axes")


def loaded(path):
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def init_of(package):
    return ROOT.joinpath("src", *package.split("."), "__init__.py")


@cache
def exported(package):
    """What a package exports, read without importing it."""
    (names,) = [
        node.value
        for node in ast.parse(init_of(package).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return ast.literal_eval(names)


def test_the_picture_of_the_layers_shows_the_contract():
    layers = loaded(DOCS / "figures" / "layers.py")
    assert (DOCS / "images" / "layers.svg").read_text(encoding="utf-8") == layers.drawn()
    architecture = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = {
        name for row in re.findall(r"^\| (`.*?) \|", architecture, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert rows == {name for row in layers.layers() for name in row} - {"__main__"}


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")], ids=named)
def test_examples_give_what_the_page_says(page):
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (failed, tried > 0) == (0, True)
