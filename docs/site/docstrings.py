"""Docstrings as Sphinx reads them: stars in shapes, sentences of constants, and names without an entry."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import get_node_source

import scalekeys

STAR = re.compile(r"(?<=[(,] )\*(?=\w)|(?<=\()\*(?=\w)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("autodoc-process-docstring", _readable, priority=400)  # before numpydoc
    app.connect("missing-reference", _existing)
    return {"parallel_read_safe": True}


def _readable(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    if what == "data":
        lines[:] = _sentence(name).splitlines()
    lines[:] = [line if ">>>" in line or "`" in line else STAR.sub(r"\\*", line) for line in lines]


def _sentence(constant: str) -> str:
    """Return what stands below a constant; of several with one name, below the one in the package that exports it."""
    package, _, name = constant.rpartition(".")
    known = _sentences().get(name, {})
    return next((text for module, text in known.items() if f"{module}.".startswith(f"{package}.")), "")


@cache
def _sentences() -> dict[str, dict[str, str]]:
    """Return the strings that stand below the constants of the package, by name and module."""
    found: dict[str, dict[str, str]] = {}
    root = Path(scalekeys.__file__).parent
    for path in sorted(root.rglob("*.py")):
        module = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        for statement, after in pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                for one in targets:
                    if isinstance(one, ast.Name):
                        found.setdefault(one.id, {})[module] = inspect.cleandoc(str(after.value.value))
    return found


def _existing(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.Element | None:
    """Link a name to where its object, or its class, is documented; leave other names that exist as text."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    for name in (target, *(f"{scope}.{target}" for scope in _scopes(get_node_source(node) or ""))):
        objects = _objects(name)
        for one in reversed(objects):
            home = _documented(env).get(id(one))
            if home is not None:
                python = env.domains.python_domain
                return python.resolve_xref(env, node["refdoc"], app.builder, "obj", home, node, text) or text
        if objects:
            return text
    return None


def _scopes(source: str) -> Iterator[str]:
    """Yield where the names of a docstring are looked up: its class and module, as documented and as defined."""
    name = source.partition("docstring of ")[2].partition(":")[0]
    while name:
        yield name
        yield from (one.__module__ for one in _objects(name)[-1:] if hasattr(one, "__module__"))
        name = name.rpartition(".")[0]


def _objects(name: str) -> list[Any]:
    """Return the module of a dotted name and what follows, down to the named object; empty where there is none."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            chain = [import_module(".".join(parts[:count]))]
        except ImportError:
            continue
        for part in parts[count:]:
            if hasattr(chain[-1], part):
                chain.append(getattr(chain[-1], part))
            elif not any(part in vars(one).get("__annotations__", {}) for one in getattr(chain[-1], "__mro__", ())):
                return []  # nor is it a field of a data class
        return chain
    return []


@cache
def _documented(env: BuildEnvironment) -> dict[int, str]:
    names = env.domains.python_domain.objects
    return {id(objects[-1]): name for name in names if (objects := _objects(name))}
