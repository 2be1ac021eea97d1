"""Depthwise layers computed axis by axis: the outputs are those of the layers with kernels of low rank."""

import copy
import importlib
import json

import pytest
import torch
from depthwise_network import SamePad
from torch import nn

import scalekeys as sk
from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork, export_onnx
from scalekeys.errors import CheckpointError, FilterError, ModelError, OutputError
from scalekeys.networks.changing.separate import timing
from scalekeys.networks.changing.separate.factors import low_rank
from scalekeys.networks.changing.separate.separable_conv import SeparableConv, long_axes, products
from scalekeys.networks.changing.separate.timing import Times

separating = importlib.import_module("scalekeys.networks.changing.separate.separate")

CHANNELS = 4


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def factors_for(layer, rank=2):
    sides = [layer.kernel_size[axis] for axis in long_axes(layer.kernel_size)]
    return [torch.randn(layer.out_channels, side, rank, generator=drawn(side)).to(layer.weight) for side in sides]


def separable_of(layer, rank=2):
    """Return a separable layer, and the layer with the sum of outer products as kernels, by a direct sum."""
    factors = factors_for(layer, rank)
    whole = copy.deepcopy(layer)
    kernels = torch.zeros(layer.out_channels, *layer.kernel_size, dtype=layer.weight.dtype)
    for channel in range(layer.out_channels):
        for term in range(rank):
            outer = torch.ones(1, dtype=layer.weight.dtype)
            for one in factors:
                outer = torch.outer(outer.flatten(), one[channel, :, term])
            kernels[channel] += outer.reshape(layer.kernel_size)
    with torch.no_grad():
        whole.weight.copy_(kernels[:, None])
    return SeparableConv(layer, factors), whole


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 7, "padding": (3, 1), "stride": (2, 3)},
        {"kernel_size": (5, 3), "padding": 4, "dilation": (2, 3), "bias": False},
        {"kernel_size": 5, "padding": "same", "dilation": 2},
        {"kernel_size": (4, 6), "padding": "valid"},
        {"kernel_size": 5, "padding": 2, "padding_mode": "reflect", "stride": 2},
        {"kernel_size": 5, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 5, "padding": 3, "padding_mode": "replicate", "dtype": torch.float64},
        {"kernel_size": 5, "padding": 2, "out_channels": 2 * CHANNELS},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2])
def test_outputs_are_those_of_kernels_of_low_rank(options, rank):
    layer = nn.Conv2d(CHANNELS, groups=CHANNELS, **{"out_channels": CHANNELS} | options)
    separable, whole = separable_of(layer, rank)
    inputs = torch.randn(2, CHANNELS, 17, 18, generator=drawn(), dtype=layer.weight.dtype)
    expected = whole(inputs).detach()
    torch.testing.assert_close(separable(inputs), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(separable.kernels(), whole.weight[:, 0])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_even_sides_keep_their_asymmetric_padding():
    separable, whole = separable_of(nn.Conv2d(CHANNELS, CHANNELS, (4, 6), padding="same", groups=CHANNELS))
    inputs = torch.randn(2, CHANNELS, 11, 13, generator=drawn())
    torch.testing.assert_close(separable(inputs), whole(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 5, 4), (1, 5, 3), (3, 1, 1)], ids=str)
def test_three_axes_of_which_some_have_one_tap(size):
    layer = nn.Conv3d(CHANNELS, CHANNELS, size, stride=(2, 1, 2), padding=(0, 2, 1), groups=CHANNELS)
    separable, whole = separable_of(layer)
    inputs = torch.randn(2, CHANNELS, 7, 8, 9, generator=drawn())
    torch.testing.assert_close(separable(inputs), whole(inputs), rtol=0, atol=1e-5)
    assert len(separable.terms[0]) == len([side for side in size if side > 1])


def test_memory_format_dtype_gradients_and_state():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS).to(torch.bfloat16)
    separable, _ = separable_of(layer)
    assert {one.dtype for one in separable.parameters()} == {torch.bfloat16}
    separable = separable.float()
    assert separable(torch.randn(1, CHANNELS, 9, 9).to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )
    separable(torch.randn(1, CHANNELS, 9, 9)).sum().backward()
    assert all(one.grad is not None for one in separable.parameters())
    assert sorted(separable.state_dict()) == [
        *("terms.0.0.weight", "terms.0.1.bias", "terms.0.1.weight", "terms.1.0.weight", "terms.1.1.weight"),
    ]
    assert len(sk.extract(separable)) == 4 * CHANNELS


def test_factors_of_another_shape_are_refused():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, groups=CHANNELS)
    for wrong in ([], factors_for(layer)[:1], [one[:2] for one in factors_for(layer)]):
        with pytest.raises(FilterError, match="a layer of 4 kernels of 5x5 needs a factor of shape"):
            SeparableConv(layer, wrong)


def test_training_mode_and_hooks_are_those_of_the_layer():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, groups=CHANNELS).eval()
    seen = []
    layer.register_forward_pre_hook(lambda _, given, named: ((3 * given[0],), named), with_kwargs=True)
    layer.register_forward_hook(lambda own, *_: seen.append(own))
    separable, whole = separable_of(layer)
    inputs = torch.randn(2, CHANNELS, 9, 9, generator=drawn())
    torch.testing.assert_close(separable(inputs), whole(inputs), rtol=0, atol=1e-4)
    assert seen == [separable, whole]
    assert not any(one.training for one in separable.modules())


def kernels_of_rank(rank, size=(7, 7), channels=CHANNELS):
    return products([torch.randn(channels, side, rank, generator=drawn(side)).double() for side in size])


def test_kernels_of_low_rank_are_found_exactly():
    kernels = kernels_of_rank(1)
    found = low_rank(kernels, 1)
    assert (products(found.factors) - kernels).abs().max() < 1e-6
    assert found.energy < 1e-12
    volume = kernels_of_rank(1, (3, 5, 4))
    assert (products(low_rank(volume, 1).factors) - volume).abs().max() < 1e-6
    assert low_rank(kernels_of_rank(2, (3, 5, 4)), 2).energy < 1e-3


def test_the_energy_lost_is_that_of_the_other_singular_values():
    kernels = torch.randn(CHANNELS, 5, 7, generator=drawn(), dtype=torch.float64)
    values = torch.linalg.svdvals(kernels).square()
    for rank in (1, 2, 3):
        assert low_rank(kernels, rank).energy == pytest.approx(float(values[:, rank:].sum() / values.sum()))


def test_outer_products_fitted_to_responses_answer_more_like_the_kernels():
    kernels = torch.randn(CHANNELS, 5, 5, generator=drawn(), dtype=torch.float64)
    mixing = torch.randn(CHANNELS, 25, 25, generator=drawn(1), dtype=torch.float64)
    patches = torch.randn(CHANNELS, 2000, 25, generator=drawn(2), dtype=torch.float64) @ mixing
    covariance = patches.mT @ patches / 2000

    def responses_lost(found):
        difference = (kernels - products(found.factors)).flatten(1)
        answers, lost = (patches @ one[..., None] for one in (kernels.flatten(1), difference))
        return float(lost.square().sum() / answers.square().sum())

    plain, fitted = low_rank(kernels, 2), low_rank(kernels, 2, covariance)
    assert fitted.error == pytest.approx(responses_lost(fitted))
    assert fitted.error < 0.8 * responses_lost(plain)
    assert fitted.energy > plain.energy


def test_zero_kernels_stay_zero():
    kernels = torch.zeros(CHANNELS, 5, 5)
    kernels[0] = 1
    for covariance in (None, torch.eye(25, dtype=torch.float64).expand(CHANNELS, 25, 25)):
        found = low_rank(kernels, 2, covariance)
        torch.testing.assert_close(products(found.factors), kernels.double(), rtol=0, atol=1e-6)


def network_of(rank=1, side=7, **options):
    """Return a network whose depthwise kernels are sums of outer products."""
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS, CHANNELS, side, padding=side // 2, groups=CHANNELS, **options)
    with torch.no_grad():
        layer.weight.copy_(kernels_of_rank(rank, (side, side))[:, None])
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 1), layer, nn.BatchNorm2d(CHANNELS), nn.ReLU()).eval()


def images(count=12):
    return torch.randn(count, 3, 14, 15, generator=drawn(5)).cumsum(-1)


def test_a_network_computes_what_it_did_by_as_few_products_as_its_kernels_have():
    network = network_of(rank=2)
    found = sk.separate(network, images(1), tolerance=1e-6, runtime=None)
    assert [(one.layer, one.rank) for one in found.layers] == [("1", 2)]
    inputs = images()
    torch.testing.assert_close(found.module(inputs), network(inputs), rtol=0, atol=1e-4)
    assert found.numbers == (4 * 49, 4 * 28)
    assert found.multiplications == (14 * 15 * (12 + 4 * 49), 14 * 15 * (12 + 4 * 28))
    assert isinstance(network[1], nn.Conv2d)
    assert repr(found) == "Separation(1 7x7 by 2: 196 depthwise weights to 112)"
    assert found.to_dict()["layers"][0]["numbers"] == (196, 112)


class Caller(nn.Module):
    """Has layers that cannot be computed axis by axis, and one that pads by itself and can be."""

    def __init__(self):
        super().__init__()
        self.calls = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
        self.uses = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
        self.row = nn.Conv2d(CHANNELS, CHANNELS, (1, 5), padding=(0, 2), groups=CHANNELS)
        self.broken = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
        self.broken.weight.data[0] = torch.inf
        self.shifted = Shifted(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
        self.small = nn.Conv2d(CHANNELS, CHANNELS, 2, groups=CHANNELS)
        self.same = SamePad(CHANNELS, CHANNELS, 5, stride=2, groups=CHANNELS)

    def forward(self, inputs):
        found = self.row(self.calls(inputs)) + nn.functional.conv2d(
            inputs, self.uses.weight, padding=2, groups=CHANNELS
        )
        return self.same(self.small(self.shifted(found)))


class Shifted(nn.Conv2d):
    """Adds the side of its kernels."""

    def forward(self, inputs):
        return super().forward(inputs) + self.kernel_size[0]


def test_what_cannot_be_separated_is_left_with_a_reason():
    network = Caller()
    found = sk.separate(network, torch.randn(1, CHANNELS, 12, 13, generator=drawn()), rank=1, runtime=None)
    assert [one.layer for one in found.layers] == ["calls", "same"]
    assert found.left == {
        "uses": "it is not called as a layer when the network runs",
        "row": "its kernels have one axis of more than one tap, so that there is nothing to separate",
        "broken": "it has kernels that are not finite",
        "shifted": "it computes something else than a convolution of torch",
        "small": "its kernels are so small that one outer product multiplies as often",
    }
    sequence = nn.Sequential(nn.Conv1d(3, CHANNELS, 1), nn.Conv1d(CHANNELS, CHANNELS, 9, groups=CHANNELS))
    assert "one axis" in sk.separate(sequence, rank=1, runtime=None).left["1"]


def test_scale_space_layers_are_separated_unless_they_are_already():
    torch.manual_seed(0)
    layers = [sk.nn.ScaleSpaceConv2d(CHANNELS, side, ["dx", "smooth"], padding="same") for side in (7, 9)]
    network, inputs = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), *layers).eval(), images()
    found = sk.separate(network, inputs, tolerance=1e-9, runtime=None)
    assert [(one.layer, one.rank) for one in found.layers] == [("1", 1)]
    assert found.left == {
        "2": "it is executed along one axis after the other already (sk.bake(network) has plain layers)"
    }
    torch.testing.assert_close(found.module(inputs), network(inputs), rtol=0, atol=1e-5)
    torch.testing.assert_close(sk.load_separated(network, found.module.state_dict())(inputs), found.module(inputs))
    baked = sk.separate(sk.bake(network), inputs, tolerance=1e-9, runtime=None)
    assert [(one.layer, one.rank) for one in baked.layers] == [("1", 1), ("2", 1)]
    torch.testing.assert_close(baked.module(inputs), network(inputs), rtol=0, atol=1e-5)


def test_tolerance_and_rank_leave_what_does_not_fit():
    network = network_of(rank=7)
    found = sk.separate(network, tolerance=0.001, runtime=None)
    assert found.left["1"].startswith("with 3 outer products, the most that multiply less often than its kernels, it")
    assert sk.separate(network, rank=4, runtime=None).left == {
        "1": "with 4 outer products it multiplies as often as with its 7x7 kernels"
    }


def test_statistics_are_matched_where_batches_are_given():
    network = network_of(rank=4)
    inputs = images()
    network = sk.recalibrate(network, inputs)
    found = sk.separate(network, batches=inputs, rank=1, runtime=None)
    matched, own = found.module[1:3](network[0](inputs)), network[1:3](network[0](inputs))
    torch.testing.assert_close(matched.mean((0, 2, 3)), own.mean((0, 2, 3)), rtol=0, atol=1e-4)
    torch.testing.assert_close(matched.std((0, 2, 3)), own.std((0, 2, 3)), rtol=0, atol=0.01)
    assert 0 < found.layers[0].error < 1
    without_norm = nn.Sequential(network[0], network[1]).eval()
    found = sk.separate(without_norm, batches=inputs, rank=1, runtime=None)
    moments = [one(inputs).std((0, 2, 3)) for one in (without_norm, found.module)]
    torch.testing.assert_close(*moments, rtol=1e-3, atol=0)


def test_models_of_filters_are_computed_exactly():
    network = network_of(rank=7)
    fit = sk.fit(sk.extract(network), ("dx", "dy", "smooth"))
    found = sk.separate(network, images(1), tolerance=1e-6, runtime=None, fit=fit)
    assert found.layers[0].rank <= 2
    replaced, inputs = sk.replace(network, fit), images()
    torch.testing.assert_close(found.module(inputs), replaced(inputs), rtol=0, atol=1e-4)


class FixedTimes:
    """Stands for a stopwatch that finds given times."""

    runtime = "torch"

    def __init__(self, shares, networks=(0.5,)):
        self.shares, self.networks, self.asked = shares, list(networks), []

    def layer(self, layer, changed, calls):
        self.asked.append(changed.rank)
        return 1.0, self.shares[changed.kernel_size[0]] * changed.rank

    def ready(self, network, example):
        return self

    def times(self, other):
        return Times(10.0, 10 * self.networks[0], self.networks.pop(0), (0.9, 1.1))


def timed(monkeypatch, *arguments):
    watch = FixedTimes(*arguments)
    monkeypatch.setattr(separating, "Stopwatch", lambda runtime: watch)
    return watch


def two_layers():
    layers = [nn.Conv2d(CHANNELS, CHANNELS, side, padding=side // 2, groups=CHANNELS) for side in (9, 7)]
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_a_layer_that_is_not_faster_stays(monkeypatch):
    timed(monkeypatch, {9: 0.4, 7: 0.96})
    found = sk.separate(two_layers(), images(1), rank=1)
    assert [(one.layer, one.before, one.after) for one in found.layers] == [("1", 1.0, 0.4)]
    assert found.left == {"2": "with 1 outer product it takes 0.96 of its time in torch"}
    assert found.times.ratio == 0.5
    assert ", 0.50 of the time in torch" in repr(found)
    assert isinstance(found.module[2], nn.Conv2d)


def test_the_slower_half_is_taken_back_until_the_network_is_faster(monkeypatch):
    timed(monkeypatch, {9: 0.4, 7: 0.9}, [1.02, 0.97])
    found = sk.separate(two_layers(), images(1), rank=1)
    assert [one.layer for one in found.layers] == ["1"]
    assert found.left == {"2": "with it the whole network would take 1.02 of its time"}
    network, inputs = two_layers(), images(1)
    timed(monkeypatch, {9: 0.4, 7: 0.9}, [1.02, 1.01])
    found = sk.separate(network, inputs, rank=1)
    assert not found.layers
    assert found.times is None
    assert torch.equal(found.module(inputs), network(inputs))


def test_a_share_of_the_time_is_reached_or_refused(monkeypatch):
    timed(monkeypatch, {9: 0.1, 7: 0.3}, [1.0, 0.9])
    found = sk.separate(two_layers(), images(1), time=0.9)
    assert sum(one.before - one.after for one in found.layers) >= 1
    timed(monkeypatch, {9: 0.1, 7: 0.3}, [1.0])
    with pytest.raises(ModelError, match=r"bring the time in torch to 0\.84 of the present one, not to 0\.5; give"):
        sk.separate(two_layers(), images(1), time=0.5)


def test_accuracy_bounds_what_is_lost():
    network, inputs = two_layers(), images(40)
    batches = [(inputs, network(inputs).argmax(1))]
    assert sk.evaluate(network, batches).top1 == 1
    found = sk.separate(network, batches=batches, accuracy=5.0, runtime=None)
    assert sk.evaluate(found.module, batches).top1 >= 0.95
    assert found.layers


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(timing, "_NETWORK_SECONDS", 0.1)
    return tmp_path / "scalekeys" / "layer_times.json"


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_times_are_measured_once_and_kept(runtime, cache, monkeypatch):
    network, inputs, state = network_of(side=31), images(1), torch.get_rng_state()
    first = sk.separate(network, inputs, rank=1, runtime=runtime)
    assert first.layers
    assert torch.equal(torch.get_rng_state(), state)
    assert first.times.before > 0
    assert json.loads(cache.read_text())

    def never(*_):
        raise AssertionError("a layer was timed again")

    monkeypatch.setattr(timing, "layer_steps", never)
    again = sk.separate(network, inputs, rank=1, runtime=runtime)
    assert [one.before for one in again.layers] == [one.before for one in first.layers]
    cache.write_text("{damaged")
    with pytest.raises(AssertionError, match="timed again"):
        sk.separate(network, inputs, rank=1, runtime=runtime)


def test_what_onnxruntime_does_not_run_is_refused():
    network = network_of(side=31, rank=1).to(torch.bfloat16)
    with pytest.raises(OutputError, match=r"onnxruntime cannot run the network .*; give the network in float32, or"):
        sk.separate(network, images(1).to(torch.bfloat16), rank=1, runtime="onnxruntime")


class Turned(nn.Module):
    """Does what the exporter that follows a network does not know."""

    def forward(self, inputs):
        return inputs.mT


class Choosing(nn.Module):
    """Does what depends on the values of its input."""

    def forward(self, inputs):
        return 2 * inputs if inputs.mean().item() > 0 else inputs


@pytest.mark.parametrize(
    ("network", "traced", "reason"), [(Turned(), True, "Unsupported"), (Choosing(), False, "GuardOnDataDependent")]
)
def test_a_network_that_cannot_be_exported_is_refused_in_one_sentence(network, traced, reason, tmp_path, capfd):
    with pytest.raises(OutputError, match=rf"cannot write the network {type(network).__name__} \({reason}"):
        export_onnx(network, images(), tmp_path / "a.onnx", label=tmp_path, traced=traced)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_onnxruntime_computes_the_same(tmp_path):
    network = network_of(rank=2, side=5)
    found = sk.separate(network, images(2), rank=2, runtime=None).module
    export_onnx(found, images(), tmp_path / "a.onnx", label=tmp_path, traced=True)
    (outputs,) = OnnxNetwork(tmp_path / "a.onnx")(images())
    torch.testing.assert_close(outputs, found(images()).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", [True, False])
def test_a_state_dict_is_loaded_into_the_network_as_it_was_built(norm, tmp_path):
    def build():
        torch.manual_seed(3)
        more = nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1, groups=CHANNELS, bias=False)
        return nn.Sequential(*network_of(rank=7, bias=False)[: 3 if norm else 2], more).eval()

    network, inputs = build(), images()
    found = sk.separate(network, batches=inputs, rank=2, runtime=None).module
    torch.save(found.state_dict(), tmp_path / "a.pth")
    again = sk.load_separated(build(), tmp_path / "a.pth")
    assert again[1].rank == 2
    assert torch.equal(again(inputs), found(inputs))
    with pytest.raises(CheckpointError, match="not those of the network Sequential"):
        sk.load_separated(nn.Sequential(build()[1]), tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 1, "tolerance": 0.1}, "give one of rank, tolerance, accuracy and time, got rank, tolerance"),
        ({"rank": 1.5}, "rank is a whole number, got 1.5"),
        ({"tolerance": "small"}, "tolerance is a number, got 'small'"),
        ({"module": "net.pth"}, "expected a network .*, got an object of type str"),
        ({"rank": 0}, "rank is the number of outer products for each kernel, at least 1, got 0"),
        ({"tolerance": 1.0}, "tolerance is a share, at least 0 and below 1, got 1.0"),
        ({"accuracy": -1.0}, "accuracy is in points of top-1 that may be lost, not negative, got -1.0"),
        ({"accuracy": 1.0}, "accuracy is measured on batches with labels; give batches"),
        ({"time": 1.5}, "time is a share of the present time, above 0 and below 1, got 1.5"),
        ({"time": 0.5, "runtime": None}, "a share of the time is reached in a runtime; give one"),
        ({"runtime": "tensorrt"}, "runtime is one of 'torch', 'compile', 'onnxruntime' or None, got 'tensorrt'"),
        ({"example": None}, "times are measured on an example; give a batch of inputs, or runtime=None"),
        ({"example": torch.zeros(1, 4, 9, 9)}, "does not run on an input of shape"),
        ({"layers": ["stem"]}, "no layer is called 'stem'; the layers are 1"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(sk.ScaleKeysError, match=message):
        sk.separate(**{"module": network_of(), "example": images(1)} | options)


def test_outputs_in_which_no_tensor_is_found_are_refused():
    class Wrapped(nn.Sequential):
        def forward(self, inputs):
            return {super().forward(inputs)}

    with pytest.raises(ModelError, match="the network Wrapped gives no values that can be compared"):
        sk.separate(Wrapped(*network_of()), images(1), rank=1, runtime=None)
