"""Tiny data for trainings."""

import pytest
from tiny_data import RECIPE, write_cifar


@pytest.fixture(scope="session")
def cifar(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("data") / "cifar")


@pytest.fixture
def recipe(cifar, tmp_path):
    """A function that reads the tiny recipe with settings replaced."""
    from scalekeys.training import read_recipe

    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return lambda *overrides: read_recipe(path, [f"data.source={cifar}", *overrides])
