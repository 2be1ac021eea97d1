"""What pyproject.toml promises: an extra brings what messages say, and the workflows try each version of Python."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from scalekeys.errors import MissingExtraError
from scalekeys.optional import require

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "traitlets": "anywidget"}
"""What brings a package whose name is another one; anywidget depends on traitlets."""


def test_an_extra_brings_the_package_that_is_said_to_come_with_it():
    promised = set(required())
    assert {("PIL", "images"), ("tensorboard", "train")} < promised
    assert [
        (package, extra) for package, extra in promised if DISTRIBUTIONS.get(package, package) not in brought_by(extra)
    ] == []


def required():
    """The package and the extra of each call of `require` that names its module."""
    for path in (ROOT / "src").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "require":
                named = {word.arg: word.value for word in call.keywords}
                module = named.get("package", call.args[0])
                if isinstance(module, ast.Constant):
                    yield module.value.partition(".")[0], ast.literal_eval(named["extra"])


def brought_by(extra):
    return {re.match(r"[\w-]+", wanted).group() for wanted in PROJECT["optional-dependencies"][extra]}


def test_the_extra_of_a_module_within_another_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(MissingExtraError, match=r"^tensorboard is not installed; pip install 'scalekeys\[train\]'"):
        require("torch.utils.tensorboard", extra="train", package="tensorboard")


def test_each_version_of_python_that_is_promised_is_tried():
    promised = [found.group(1) for line in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))]
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert tests["jobs"]["test"]["strategy"]["matrix"]["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"
