"""Real architectures with random weights: every depthwise layer is found, by an independent count."""

import pytest
import torch
from safetensors.torch import save_file

from scalekeys.checkpoints import extract

timm = pytest.importorskip("timm")

NETWORKS = ["convnext_atto", "mobilenetv3_small_050", "efficientnet_b0", "ghostnet_100"]


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    return timm.create_model(request.param, pretrained=False)


def independent_count(network):
    """Run one image and watch: a layer is depthwise if its weight sees one channel and there are more."""
    found = []

    def watch(layer, inputs, output):
        weight = getattr(layer, "weight", None)
        channels = inputs[0].shape[1] if inputs[0].ndim == 4 else 1
        if weight is not None and weight.ndim == 4 and weight.shape[1] == 1 < channels and weight[0, 0].numel() > 1:
            ratio = inputs[0].shape[-1] / output.shape[-1]
            found.append((tuple(weight[:, 0].shape), round(ratio)))

    for layer in network.modules():
        layer.register_forward_hook(watch)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64, 64))
    for layer in network.modules():
        layer._forward_hooks.clear()
    return found


def test_every_depthwise_layer_is_found(network):
    expected = independent_count(network)
    bank = extract(network)
    assert sorted((tuple(layer.kernels.shape), layer.stride) for layer in bank.layers) == sorted(expected)
    assert len(expected) > 5
    assert bank.model == type(network).__name__
    assert all(layer.dilation == 1 for layer in bank.layers)


def test_files_hold_the_same_filters_as_the_module(network, tmp_path):
    bank = extract(network)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    for name in ("net.pth", "net.safetensors"):
        stored = {layer.name: layer.kernels for layer in extract(tmp_path / name).layers}
        assert set(stored) == {layer.name for layer in bank.layers}
        assert all(torch.equal(stored[layer.name], layer.kernels) for layer in bank.layers)


@pytest.mark.parametrize("name", NETWORKS[:3])
def test_the_order_by_names_is_the_order_of_the_network(name, tmp_path):
    network = timm.create_model(name, pretrained=False)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    assert [layer.name for layer in extract(tmp_path / "net.safetensors")] == [layer.name for layer in extract(network)]
