"""The tutorials: scripts that compile and use names that exist; ``make docs`` runs them."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import scalekeys as sk

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
SCRIPTS = sorted(FOLDER.glob("plot_*.py"))


def chain(node: ast.expr) -> list[str]:
    """Read ``sk.nn.ScaleSpaceConv2d`` as its parts; empty for anything that does not begin with a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = chain(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_names_of_the_package_that_a_tutorial_uses_exist(script):
    tree = ast.parse(script.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        if node.module.startswith("scalekeys"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
    used = {tuple(chain(node)) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    ours = {parts for parts in used if parts[:1] == ("sk",)}
    assert ours
    for parts in ours:
        value = sk
        for name in parts[1:]:
            value = getattr(value, name)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_tutorial_has_a_title_and_links_to_tutorials_that_exist(script):
    text = ast.get_docstring(ast.parse(script.read_text()))
    title, line = text.splitlines()[:2]
    assert line == "=" * len(title)
    for name in re.findall(r"<(plot_\w+)\.html>", text):
        assert (FOLDER / f"{name}.py").exists()


def test_there_are_five_tutorials_in_order():
    assert [script.stem[:6] for script in SCRIPTS] == [f"plot_{number}" for number in range(1, 6)]
