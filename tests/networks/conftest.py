"""A small network of depthwise layers of many kinds, its fit, and the same network constrained by it."""

import pytest
from depthwise_network import depthwise_network

import scalekeys as sk


@pytest.fixture
def network():
    return depthwise_network()


@pytest.fixture(scope="session")
def fit():
    return sk.fit(sk.extract(depthwise_network()))


@pytest.fixture
def constrained(network, fit):
    return sk.constrain(network, fit, "scales+amplitudes")
