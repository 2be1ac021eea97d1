"""Run-time checks of shapes, which come before the first import of the package, and shared fixtures."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import hypothesis
import jaxtyping
import pytest

import shape_checks

PACKAGE = "scalekeys"

hook = shape_checks.install(PACKAGE)

collect_ignore_glob = ["*conftest.py"]  # --doctest-modules would import each of them under the one name of conftest

hypothesis.settings.register_profile("scalekeys", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("scalekeys")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared, which is not here")
    return folder


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Let a test hand over what the run-time checks would refuse before the package can."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def package_without_shape_checks() -> Callable[[str], AbstractContextManager[ModuleType]]:
    """Give a function that imports a second, unchecked copy of the package, for a tracer to see through."""
    return _unchecked


@contextmanager
def _unchecked(name: str) -> Iterator[ModuleType]:
    checked = _take_out()
    hook.uninstall()
    try:
        yield importlib.import_module(name)
    finally:
        _take_out()
        sys.modules.update(checked)
        globals()["hook"] = shape_checks.install(PACKAGE)


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] == PACKAGE]
    return {name: sys.modules.pop(name) for name in names}
