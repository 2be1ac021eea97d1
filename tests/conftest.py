"""Run-time checks of shapes, which come before the first import of the package, and shared fixtures."""

import gc
import importlib
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock
import hypothesis
import jaxtyping
import pytest

import shape_checks

PACKAGE = "scalekeys"

hook = shape_checks.install(PACKAGE)

collect_ignore_glob = ["*conftest.py"]  # --doctest-modules would import each of them under the one name of conftest

hypothesis.settings.register_profile("scalekeys", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("scalekeys")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the modules and the tests, which stay until the end, out of every search for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared, which is not here")
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], Any]], Any]:
    """Give a function that calls another one once for all processes of a run, and returns what that has returned."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def result_of(make: Callable[[], Any]) -> Any:
        path = folder / f"{make.__module__}.{make.__qualname__}.pickle"
        with filelock.FileLock(f"{path}.lock"):
            if not path.exists():
                path.write_bytes(pickle.dumps(make()))
            return pickle.loads(path.read_bytes())

    return result_of


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the scripts of the folder benchmarks be imported, and forget them afterwards."""
    folder = str(Path(__file__).resolve().parents[1] / "benchmarks")
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]


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
