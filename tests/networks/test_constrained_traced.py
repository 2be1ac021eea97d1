"""Compiled and exported constrained networks against the eager ones."""

import copy
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from depthwise_network import random_filters
from torch import nn

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),  # torch's own, and those of its exporter
    pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning"),
]


@pytest.fixture(scope="module")
def package(package_without_shape_checks) -> Iterator[ModuleType]:
    """The package as a user imports it, since a tracer cannot see through the run-time checks of the tests."""
    with package_without_shape_checks("scalekeys") as package:
        yield package


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def images():
    return random_filters(2, 3, 9, 9).float()


def constrained_by(package, model, learn="scales+coefficients", **options):
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 5, groups=6), nn.Conv2d(6, 6, (3, 5), groups=6))
    with torch.no_grad():
        network[1].weight.copy_(random_filters(6, 1, 5, 5, seed=1))
        network[2].weight.copy_(random_filters(6, 1, 3, 5, seed=2))
    return package.constrain(network, package.fit(package.extract(network), model), learn, **options)


@pytest.mark.parametrize(
    ("model", "options"),
    [("ideal8", {}), (("jet2", "dog", "smooth"), {"scale": "softplus"}), ("dog", {"tie": "network"})],
    ids=str,
)
def test_compiled_as_one_graph_it_trains_as_in_eager_mode(package, model, options):
    eager = constrained_by(package, model, **options)
    twin = copy.deepcopy(eager)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for module in (eager, compiled):
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            module(images()).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(compiled(images()), eager(images()), rtol=1e-4, atol=1e-4)
    for mine, its in zip(twin.parameters(), eager.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
    assert type(package.bake(compiled)[1]) is nn.Conv2d


def test_compiled_under_autocast(package):
    eager = constrained_by(package, "ideal8")
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(images()), eager(images()), rtol=0.05, atol=0.05)


def test_exported(package):
    constrained = constrained_by(package, "ideal8", min_r2=0.3)
    program = torch.export.export(constrained, (images(),))
    torch.testing.assert_close(program.module()(images()), constrained(images()))


def test_a_layer_that_is_compiled_alone_is_compiled_once(package):
    layers = [nn.Conv2d(6, 6, 5, groups=6, padding=2) for _ in range(2)]
    network = package.constrain(nn.Sequential(*layers), package.fit(package.extract(nn.Sequential(*layers)), "jet2"))
    eager = copy.deepcopy(network)
    network[1].compile(fullgraph=True, backend="eager")
    maps = random_filters(2, 6, 9, 9).float()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(2):
            torch.testing.assert_close(network(maps), eager(maps), rtol=1e-4, atol=1e-4)
            with torch.no_grad():
                for one in (*network.parameters(), *eager.parameters()):
                    one.mul_(1.01)
