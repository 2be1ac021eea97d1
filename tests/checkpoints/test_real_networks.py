"""Two networks that others have trained."""

import pytest
import torch

from scalekeys.checkpoints import extract


@pytest.fixture
def weights(shared):
    folder = shared / "weights"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared/weights, which is not here")
    return folder


def test_an_image_classifier(weights):
    bank = extract(weights / "mcunet-320kb-1mb_imagenet.pth")
    assert {size: len(bank.of_size(size)[0]) for size in bank.sizes} == {(7, 7): 1544, (5, 5): 744, (3, 3): 1128}
    assert len(bank) == 3416
    assert bank.model == "mcunet-320kb-1mb_imagenet"
    assert bank.notes == ("weights are read from the entry 'state_dict'",)
    assert bank.layers[0].name == "blocks.0.mobile_inverted_conv.depth_conv.conv"
    assert [layer.depth for layer in bank.layers] == list(range(18))
    assert all(layer.kernels.dtype == torch.float32 and layer.stride is None for layer in bank.layers)


def test_a_super_resolution_network(weights):
    path = weights / "lkdn_x4.pth"
    averaged, trained = extract(path), extract(path, weights="params")
    assert averaged.notes == (
        "weights are read from the entry 'params_ema'; the file also holds 'params' (choose with --weights)",
    )
    assert trained.notes == (
        "weights are read from the entry 'params'; the file also holds 'params_ema' (choose with --weights)",
    )
    assert averaged.sizes == ((5, 5), (3, 3))
    stored = torch.load(path, weights_only=True)
    for bank, name in ((averaged, "params_ema"), (trained, "params")):
        expected = {
            key.removesuffix(".weight"): w for key, w in stored[name].items() if w.ndim == 4 and w.shape[1] == 1
        }
        assert [layer.name for layer in bank.layers] == list(expected)
        assert all(torch.equal(layer.kernels, expected[layer.name][:, 0]) for layer in bank.layers)
