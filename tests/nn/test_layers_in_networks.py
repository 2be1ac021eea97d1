"""Scale-space layers compiled, exported, and in a network of timm."""

import copy
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import scalekeys as sk
import torchvision_placeholder

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, and those of its exporters
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def package(package_without_shape_checks) -> Iterator[ModuleType]:
    """The package as a user imports it, since a tracer cannot see through the run-time checks of the tests."""
    with package_without_shape_checks("scalekeys") as package:
        yield package


@pytest.fixture
def network(package) -> nn.Module:
    """A layer executed as it stands and one executed in turn, where not every channel has every product."""
    torch.compiler.reset()
    torch.manual_seed(0)
    dense = package.nn.ScaleSpaceConv2d(16, 5, ["dog", "jet2"], padding="same")
    return nn.Sequential(nn.Conv2d(3, 16, 1), dense, nn.ReLU(), package.nn.ScaleSpaceConv2d(16, 9, padding="same"))


def images():
    return torch.linspace(-2, 2, 2 * 3 * 12 * 11).view(2, 3, 12, 11).sin()


def test_compiled_as_one_graph_it_trains_as_in_eager_mode(network):
    twin = copy.deepcopy(network)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for module in (network, compiled):
        module(images()).square().mean().backward()
    assert network[3].is_separable
    torch.testing.assert_close(compiled(images()), network(images()), rtol=1e-5, atol=1e-5)
    for mine, its in zip(twin.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-5)


def test_exported(network):
    program = torch.export.export(network, (images(),))
    torch.testing.assert_close(program.module()(images()), network(images()), rtol=1e-5, atol=1e-5)


def test_exported_to_onnx_as_it_is(network, tmp_path):
    path = tmp_path / "network.onnx"
    torch.onnx.export(network.eval(), (images(),), path, dynamo=True, verbose=False, external_data=False)
    session = onnxruntime.InferenceSession(path)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: images().numpy()})
    np.testing.assert_allclose(outputs, network(images()).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_convnext_of_timm_with_scale_space_layers():
    torchvision_placeholder.install()
    timm = pytest.importorskip("timm")
    network = timm.create_model("convnext_atto", num_classes=10)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            network.set_submodule(name, sk.nn.ScaleSpaceConv2d.in_place_of(layer, 15, "jet2"))
    bank = sk.extract(network)
    assert {layer.size for layer in bank} == {(15, 15)}
    assert len(bank.layers) == 12
    given = torch.rand(1, 3, 64, 64)
    network(given).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    torch.testing.assert_close(sk.bake(network)(given), network(given), rtol=1e-4, atol=1e-4)
