"""Run-time checks of shapes, which come before the first import of the package, and shared fixtures."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

jaxtyping.install_import_hook("scalekeys", "shape_checks.check_shapes")

collect_ignore_glob = ["*conftest.py"]  # --doctest-modules would import each of them under the one name of conftest

hypothesis.settings.register_profile("scalekeys", deadline=None, derandomize=True)
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
    """Switch the run-time checks off: for a tracer, which cannot see through them, and for arguments they refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
