"""Architectures of the field with random weights: read, fit, replace, constrain, train, bake and export each of them.

By default the exporter of TorchScript writes the ONNX file, which takes a tenth of the time; -m slow runs the other.
"""

import warnings

import onnxruntime
import pytest
import torch
from depthwise_network import images, kernels_of
from torch import nn
from torch.nn.utils import parametrize

import scalekeys as sk
import torchvision_placeholder

torchvision_placeholder.install()
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

SMALL = {"depths": (1, 1, 1, 1), "dims": (16, 24, 32, 40)}
SEEN = {"ls_init_value": 1.0}  # a block that starts at a millionth of its strength would hide its filters
IN_TIMM = {
    "convnext_atto": SMALL | SEEN,
    "convnextv2_atto": SMALL,
    "edgenext_xx_small": SEEN,
    "efficientnet_b0": {},
    "fastvit_t8": {},
    "ghostnet_050": {},
    "inception_next_atto": SEEN,
    "lcnet_035": {},
    "mobilenetv2_035": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "mobileone_s0": {},
    "repvit_m0_9": {},
    "starnet_s050": {},
}
IN_TRANSFORMERS = {
    "ConvNextV2": {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 24, 32, 40]},
    "MobileNetV1": {"depth_multiplier": 0.25},
    "MobileNetV2": {"depth_multiplier": 0.35},
}
SIDE = 32


class Logits(nn.Module):
    """Take the logits out of what networks of transformers return."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images).logits


def thin_out(network):
    """Take blocks out that repeat the one before them, with weights of the same shapes."""
    for stage in [one for one in network.modules() if isinstance(one, nn.Sequential | nn.ModuleList)]:
        shapes = [(type(block), [weight.shape for weight in block.parameters()]) for block in stage]
        for place in reversed(range(1, len(shapes))):
            if list(stage[place].children()) and shapes[place] == shapes[place - 1]:
                del stage[place]


def created(name):
    """Create a network whose batch norms have seen images, so that its outputs depend on them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name in IN_TIMM:
            network = timm.create_model(name, pretrained=False, num_classes=3, **IN_TIMM[name])
        else:
            config = getattr(transformers, f"{name}Config")(num_labels=3, **IN_TRANSFORMERS[name])
            network = Logits(getattr(transformers, f"{name}ForImageClassification")(config))
        thin_out(network)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        with torch.no_grad():
            network.train()(images(4, SIDE))
    return network.eval()


def assert_close_start(constrained, replaced, fit):
    """Kernels start at their models, those with infinite scales at the largest finite one, close to theirs."""
    for layer, part in fit.bank.parts():
        found, wanted = (one.get_submodule(layer.name).weight[:, 0].detach() for one in (constrained, replaced))
        varying = (wanted - wanted.mean((-2, -1), keepdim=True)).flatten(1).norm(dim=1)
        error = (found - wanted).flatten(1).norm(dim=1)
        finite = ~fit.sigma[part].isinf().any(-1)
        assert (error[finite] <= 1e-4 * varying[finite] + 1e-6).all()
        assert (error <= 0.12 * varying + 1e-6).all()


def assert_same_outputs(found, expected):
    assert expected.isfinite().all()
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def onnx_outputs(network, path, *, dynamo):
    options = {"verbose": False, "external_data": False, "optimize": False} if dynamo else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters use what torch itself calls deprecated
        torch.onnx.export(network, (images(2, SIDE),), path, dynamo=dynamo, **options)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: images(2, SIDE).numpy()})
    return torch.from_numpy(outputs)


@pytest.mark.parametrize("name", [*IN_TIMM, *IN_TRANSFORMERS])
@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["torchscript", "dynamo"])
def test_architecture(name, dynamo, tmp_path):
    network = created(name)
    bank = sk.extract(network)
    fit = sk.fit(bank, ("dx", "smooth"))
    replaced, constrained = sk.replace(network, fit), sk.constrain(network, fit, "scales+amplitudes")
    assert list(kernels_of(constrained)) == [layer.name for layer in bank]
    outputs = replaced(images(2, SIDE)).detach()
    assert not torch.allclose(outputs, network(images(2, SIDE)), rtol=1e-3)
    assert_close_start(constrained, replaced, fit)
    assert constrained(images(2, SIDE)).isfinite().all()

    constrained.train()(images(2, SIDE)).square().sum().backward()
    learned = [one for kernel in kernels_of(constrained).values() for one in (kernel.scales.theta, kernel.amplitude)]
    assert all(parameter.grad.isfinite().all() for parameter in learned)
    nn.utils.clip_grad_norm_(constrained.parameters(), 0.1)
    torch.optim.SGD(constrained.parameters(), lr=1.0).step()

    baked = sk.bake(constrained).eval()
    assert [type(layer) for layer in baked.modules()] == [type(layer) for layer in network.modules()]
    assert not any(parametrize.is_parametrized(layer) for layer in baked.modules())
    outputs = baked(images(2, SIDE)).detach()
    assert torch.equal(outputs, constrained.eval()(images(2, SIDE)))
    assert_same_outputs(onnx_outputs(baked, tmp_path / "baked.onnx", dynamo=dynamo), outputs)
