"""Dead filters are removed where outputs stay the same, and left, with the reason, everywhere else."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

import scalekeys as sk
from scalekeys.errors import CheckpointError, ModelError
from scalekeys.networks.measuring.same_outputs import Reference

DEAD = [1, 4, 5]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Block(nn.Module):
    """Widen, filter, project, with the input added: the block of MobileNetV2, and variants of it."""

    def __init__(self, axes=2, side=3, act=nn.ReLU6, project_bias=True, excite=False, project=None):
        super().__init__()
        conv, norm = CONVOLUTIONS[axes], NORMS[axes]
        self.stem = conv(3, 4, 1)
        self.expand, self.norm1 = conv(4, 8, 1, bias=False), norm(8)
        self.filter, self.norm2 = conv(8, 8, side, padding=side // 2, groups=8, bias=False), norm(8)
        self.act1, self.act2 = act(), act()
        self.squeeze, self.excite = (conv(8, 2, 1), conv(2, 8, 1)) if excite else (None, None)
        self.project = project or conv(8, 4, 1, bias=project_bias)
        self.norm3 = nn.Identity() if project_bias else norm(4)

    def forward(self, x):
        x = self.stem(x)
        y = self.act2(self.norm2(self.filter(self.act1(self.norm1(self.expand(x))))))
        if self.squeeze is not None:
            mean = y.mean(tuple(range(2, y.ndim)), keepdim=True)
            y = y * torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return x + self.norm3(self.project(y))


class Made(nn.Module):
    """A network of named layers and a function of them."""

    def __init__(self, run, **layers):
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, x):
        return self.run(self.layers, x)


def depthwise(channels=8, side=3, **options):
    return nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, **options)


def planted(network, dead=DEAD, layer=None):
    """Give every layer statistics of its own, and kill filters of one depthwise layer, or of all."""
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for tensor in (part.weight, part.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (part.bias, part.running_mean):
                nn.init.normal_(tensor)
        chosen = isinstance(part, nn.modules.conv._ConvNd) and part.groups == part.in_channels > 1
        if chosen and (layer is None or part is layer):
            with torch.no_grad():
                part.weight[dead] = 0
    return network.eval()


def example(axes=2, batch=2, size=7):
    return torch.randn(batch, 3, *[size] * axes)


def assert_same(pruning, network, inputs):
    with torch.no_grad():
        wanted = network(inputs)
        assert wanted.std() > 0
        torch.testing.assert_close(pruning.module(inputs), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def pruned(network, inputs=None, multiple_of=1, **options):
    """Prune, and check what always holds."""
    inputs = example() if inputs is None else inputs
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruning = sk.prune_dead(network, inputs, multiple_of=multiple_of, **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert type(pruning.module) is type(network)
    assert pruning.removed + len(pruning.left) == len(pruning.dead)
    assert_same(pruning, network, torch.randn_like(inputs))
    return pruning


def only_reason(pruning):
    (reason,) = pruning.reasons
    return reason


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_block_loses_the_channel_everywhere(axes):
    network = planted(Block(axes))
    pruning = pruned(network, example(axes))
    assert {(one.layer, one.channel, one.kind) for one in pruning.dead} == {("filter", row, "zero") for row in DEAD}
    assert not pruning.left
    small = pruning.module
    alive = [row for row in range(8) if row not in DEAD]
    assert torch.equal(small.filter.weight, network.filter.weight[alive])
    assert torch.equal(small.expand.weight, network.expand.weight[alive])
    assert torch.equal(small.norm1.running_var, network.norm1.running_var[alive])
    assert torch.equal(small.project.weight, network.project.weight[:, alive])
    assert (small.filter.groups, small.filter.in_channels, small.norm2.num_features, small.project.in_channels) == (
        5,
    ) * 4
    # of each channel 4 weights of `expand`, 2 x 2 of batch norms, 3 ** axes taps and 4 weights of `project`
    assert pruning.parameters[0] - pruning.parameters[1] == 3 * (4 + 4 + 3**axes + 4)
    assert pruning.multiplications[0] - pruning.multiplications[1] == 3 * (4 + 3**axes + 4) * 7**axes
    assert pruning.filters == (8, 5)


ACTIVATIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh()),
    *(nn.LeakyReLU(), nn.ELU(), nn.CELU(), nn.SELU(), nn.Mish(), nn.Softplus(), nn.Hardtanh(), nn.PReLU(), nn.PReLU(8)),
]


def activated(layers, x):
    y = layers["dw"](layers["stem"](x))
    return layers["out"](torch.cat([act(y) for act in layers["acts"]], 1))


def test_the_constant_passes_every_activation():
    network = Made(
        activated,
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        acts=nn.ModuleList(ACTIVATIONS),
        out=nn.Conv2d(8 * len(ACTIVATIONS), 2, 1),
    )
    nn.init.uniform_(network.layers["dw"].bias, -2, 2)
    pruning = pruned(planted(network))
    assert not pruning.reasons
    assert pruning.module.layers["acts"][-1].num_parameters == 5
    assert pruning.module.layers["out"].in_channels == 5 * len(ACTIVATIONS)


def test_the_constant_goes_to_the_running_mean_where_there_is_no_bias():
    network = planted(Block(project_bias=False, act=nn.SiLU))
    pruning = pruned(network)
    assert pruning.removed == 3
    assert pruning.module.project.bias is None
    assert not torch.equal(pruning.module.norm3.running_mean, network.norm3.running_mean)


def test_a_layer_without_bias_and_batch_norm_gets_a_bias():
    network = planted(Block(project=nn.Conv2d(8, 4, 1, bias=False), act=nn.SiLU))
    pruning = pruned(network)
    assert pruning.module.project.bias.shape == (4,)
    again = sk.load_pruned(network, pruning.module.state_dict())
    assert torch.equal(again.project.bias, pruning.module.project.bias)


def test_a_bias_of_the_filter_is_the_constant():
    network = Made(
        lambda layers, x: layers["out"](F.relu(layers["dw"](layers["stem"](x)))),
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        out=nn.Conv2d(8, 2, 1),
    )
    nn.init.constant_(network.layers["dw"].bias, 2.0)
    pruning = pruned(planted(network))
    assert {one.constant for one in pruning.dead} == {2.0}
    gain = network.layers["out"].weight[:, DEAD, 0, 0].sum(1) * 2
    torch.testing.assert_close(pruning.module.layers["out"].bias - network.layers["out"].bias, gain)


def test_squeeze_and_excitation_keeps_all_but_zeros():
    network = planted(Block(excite=True, act=nn.ReLU))
    with torch.no_grad():
        network.norm2.running_mean[DEAD] = 1.0
        network.norm2.bias[DEAD] = torch.tensor([0.0, 0.0, 9.0])  # of which ReLU leaves 0, 0 and a constant
    pruning = pruned(network)
    assert [one.channel for one in pruning.left] == [5]
    assert "multiplies the channel, which is constant, by a factor" in only_reason(pruning)
    assert (pruning.module.squeeze.in_channels, pruning.module.excite.out_channels) == (6, 6)


@pytest.mark.parametrize(("padding", "constant", "removed"), [(1, 1.0, 0), (0, 1.0, 3), (1, 0.0, 3)])
def test_zeros_beside_a_constant(padding, constant, removed):
    network = Made(
        lambda layers, x: layers["out"](layers["dw"](layers["stem"](x))),
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        out=nn.Conv2d(8, 2, 3, padding=padding),
    )
    nn.init.constant_(network.layers["dw"].bias, constant)
    pruning = pruned(planted(network))
    assert pruning.removed == removed
    assert removed or "pads with zeros a channel that is constant but not zero" in only_reason(pruning)


def test_layer_norm_counts_a_constant():
    def convnext(layers, x):
        x = layers["stem"](x)
        y = layers["norm"](layers["dw"](x).permute(0, 2, 3, 1))
        return (x + layers["out"](F.gelu(layers["in"](y))).permute(0, 3, 1, 2)).mean((2, 3))

    network = Made(
        convnext,
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(side=7),
        norm=nn.LayerNorm(8),
        **{"in": nn.Linear(8, 16), "out": nn.Linear(16, 8)},
    )
    pruning = pruned(planted(network))
    assert pruning.removed == 0
    assert "'layers.norm' (layer_norm) normalises over channels" in only_reason(pruning)


def test_a_sum_with_what_is_not_constant_keeps_the_channel():
    network = Made(
        lambda layers, x: layers["out"](layers["stem"](x) + layers["dw"](layers["stem2"](x))),
        stem=nn.Conv2d(3, 8, 1),
        stem2=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        out=nn.Conv2d(8, 2, 1),
    )
    assert "adds the channel to one that is not constant" in only_reason(pruned(planted(network)))


def skip(layers, x):
    first = layers["stem"](x)
    second = F.relu(layers["one"](layers["dw1"](first)))
    return layers["two"](layers["dw2"](torch.cat([first, second], 1)))


def test_a_channel_that_two_layers_use_goes_if_it_is_dead_in_both():
    network = Made(
        skip,
        stem=nn.Conv2d(3, 8, 1),
        dw1=depthwise(),
        one=nn.Conv2d(8, 8, 1),
        dw2=depthwise(16),
        two=nn.Conv2d(16, 2, 1),
    )
    planted(network, [1, 2], network.layers["dw1"])
    planted(network, [2, 3, 11], network.layers["dw2"])
    pruning = pruned(network)
    layers = pruning.module.layers
    assert {(one.layer, one.channel) for one in pruning.left} == {("layers.dw1", 1), ("layers.dw2", 3)}
    assert all("uses the channel, which is not constant there" in reason for reason in pruning.reasons)
    assert (layers["stem"].out_channels, layers["one"].out_channels, layers["dw2"].groups) == (7, 7, 14)


def shuffled(layers, x):
    y = layers["dw"](layers["stem"](x))
    batch, channels, rows, cols = y.shape
    y = y.view(batch, 2, channels // 2, rows, cols).transpose(1, 2).reshape(batch, channels, rows, cols)
    return layers["out"](y)


@pytest.mark.parametrize(
    ("run", "out", "reason"),
    [
        (shuffled, nn.Conv2d(8, 2, 1), "does not keep the channels apart, or rearranges them"),
        (None, nn.Conv2d(8, 4, 1, groups=2), "has groups of several channels"),
        (None, nn.Identity(), "is an output of the network"),
        (None, weight_norm(nn.Conv2d(8, 4, 1)), "are computed, or used more than once"),
        (None, nn.GroupNorm(2, 8), "normalises over channels"),
    ],
)
def test_what_keeps_the_channels(run, out, reason):
    plain = lambda layers, x: layers["out"](layers["dw"](layers["stem"](x)))  # noqa: E731
    pruning = pruned(planted(Made(run or plain, stem=nn.Conv2d(3, 8, 1), dw=depthwise(), out=out)))
    assert pruning.removed == 0
    assert reason in only_reason(pruning)


def test_weights_that_are_used_twice_stay():
    network = Made(
        lambda layers, x: layers["out"](layers["dw"](layers["dw"](layers["stem"](x)))),
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        out=nn.Conv2d(8, 2, 1),
    )
    pruning = pruned(planted(network))
    assert pruning.removed == 0
    assert "not called as a layer of its own" in only_reason(pruning)


def test_computed_filters_stay_and_tied_weights_stay_tied():
    def tied(layers, x):
        y = layers["mid"](layers["dw1"](layers["stem"](x)))
        return layers["late"](layers["early"](layers["out"](layers["dw2"](y))))

    network = Made(
        tied,
        stem=nn.Conv2d(3, 8, 1),
        dw1=weight_norm(planted(depthwise()), dim=None),
        mid=nn.Conv2d(8, 8, 1),
        dw2=depthwise(),
        out=nn.Conv2d(8, 4, 1),
        early=nn.Conv2d(4, 4, 1),
        late=nn.Conv2d(4, 4, 1),
    )
    network.layers["late"].weight = network.layers["early"].weight
    planted(network.layers["dw2"], [2])
    pruning = pruned(network.eval())
    assert "not called as a layer of its own with weights of its own" in only_reason(pruning)
    assert pruning.filters == (16, 15)
    assert pruning.module.layers["late"].weight is pruning.module.layers["early"].weight


def test_a_chain_of_filters_goes_as_a_whole():
    network = Made(
        lambda layers, x: layers["out"](layers["cols"](layers["rows"](layers["stem"](x)))),
        stem=nn.Conv2d(3, 8, 1),
        rows=nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8),
        cols=nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=8),
        out=nn.Conv2d(8, 2, 1),
    )
    planted(network, [1, 2], network.layers["cols"])
    planted(network, [3], network.layers["rows"])  # gives its bias to a filter that pads it with zeros
    pruning = pruned(network)
    assert [(one.layer, one.channel) for one in pruning.left] == [("layers.rows", 3)]
    assert pruning.filters == (16, 12)


def test_one_channel_remains_of_a_dead_layer():
    pruning = pruned(planted(Block(), list(range(8))))
    assert pruning.module.filter.groups == 1
    assert only_reason(pruning) == "every channel of a layer would go, and one must remain"


def test_a_negligible_filter_that_a_batch_norm_amplifies_stays():
    network = planted(Block(act=nn.Identity))
    with torch.no_grad():
        network.filter.weight[2:4] = 1e-5 * torch.randn(2, 1, 3, 3)
        network.norm2.running_var[3] = 1e-9
        network.norm2.weight[2] = 1e-3
    pruning = pruned(network)
    assert [(one.channel, one.kind) for one in pruning.dead if one.kind == "negligible"] == [
        (2, "negligible"),
        (3, "negligible"),
    ]
    assert [one.channel for one in pruning.left] == [3]
    assert "the outputs would differ by" in only_reason(pruning)
    assert pruning.difference <= 1e-5


def test_filters_that_no_input_moves_are_found_by_images():
    network = planted(Block(act=nn.ReLU))
    with torch.no_grad():
        network.norm1.running_mean.zero_()
        network.norm1.bias.fill_(1)[[0, 6]] = -100  # which ReLU turns into zeros for all inputs in question
    assert pruned(network).removed == 3
    pruning = pruned(network, images=[example(), example()])
    assert {one.channel for one in pruning.dead if one.kind == "unmoved"} == {0, 6}
    assert pruning.removed == 5


def test_a_network_that_says_its_sizes_itself_stays_whole():
    network = Made(
        lambda layers, x: layers["out"](layers["dw"](layers["stem"](x)).mean((2, 3)).view(-1, 8)),
        stem=nn.Conv2d(3, 8, 1),
        dw=depthwise(),
        out=nn.Linear(8, 2),
    )
    pruning = pruned(planted(network))
    assert pruning.removed == 0
    assert only_reason(pruning).startswith("the network does not run without it (RuntimeError")


def test_pooled_flattened_and_scaled_channels_are_followed():
    def classifier(layers, x):
        y = F.max_pool2d(layers["dw"](layers["stem"](x)), 2) * layers["scale"].weight.view(1, -1, 1, 1)
        return layers["out"](F.adaptive_avg_pool2d(y / 2 + 1, 1).flatten(1))

    network = Made(
        classifier, stem=nn.Conv2d(3, 8, 1), dw=depthwise(), out=nn.Linear(8, 2), scale=nn.Linear(8, 1, bias=False)
    )
    assert "mul" in only_reason(pruned(planted(network)))  # the factor is computed from a weight
    network.run = lambda layers, x: layers["out"](
        F.adaptive_avg_pool2d(F.max_pool2d(layers["dw"](layers["stem"](x)), 2) / 2 + 1, 1).flatten(1)
    )
    assert pruned(network).removed == 3


def test_a_factor_for_each_channel_is_cut():
    class Scaled(Made):
        def __init__(self):
            super().__init__(None, stem=nn.Conv2d(3, 8, 1), dw=depthwise(), out=nn.Conv2d(8, 2, 1))
            self.gain = nn.Parameter(torch.randn(8, 1, 1))

        def forward(self, x):
            return self.layers["out"](self.gain * self.layers["dw"](self.layers["stem"](x)))

    pruning = pruned(planted(Scaled()))
    assert pruning.removed == 3
    assert pruning.module.gain.shape == (5, 1, 1)


def test_modes_and_gradients_are_those_of_the_original():
    network = planted(Block()).train()
    network.norm2.eval()
    network.expand.weight.requires_grad_(requires_grad=False)
    small = sk.prune_dead(network, example(), multiple_of=1).module
    assert [part.training for part in small.modules()] == [part.training for part in network.modules()]
    assert not small.expand.weight.requires_grad
    small(example()).sum().backward()
    assert small.filter.weight.grad is not None


def test_nothing_dead_changes_nothing():
    network = planted(Block(), [])
    pruning = pruned(network)
    assert (pruning.dead, pruning.sizes, pruning.difference) == ((), (), 0)


def straight(width, dead):
    """Return a network with one depthwise layer of this width, of which some filters are dead."""
    network = Made(
        lambda layers, x: layers["out"](F.silu(layers["dw"](layers["stem"](x)))),
        stem=nn.Conv2d(3, width, 1),
        dw=depthwise(width),
        out=nn.Conv2d(width, 2, 1),
    )
    return planted(network, list(range(dead)))


@pytest.mark.parametrize(
    ("width", "dead", "multiple_of", "left"),
    [
        (48, 9, 8, 40),
        (48, 17, 16, 32),
        (48, 7, 8, 48),
        (18, 5, 8, 14),
        (7, 2, 8, 5),
        (12, 5, 8, 8),
        (8, 8, 8, 8),
        (8, 8, 1, 1),
    ],
)
def test_widths_keep_their_divisor(width, dead, multiple_of, left):
    pruning = pruned(straight(width, dead), multiple_of=multiple_of)
    assert pruning.module.layers["dw"].groups == left
    kept = [one.channel for one, reason in pruning.left.items() if "kept so that the width stays" in reason]
    assert kept == list(range(dead))[dead - len(kept) :]  # the last ones
    if multiple_of > 1 and kept:
        assert f"stays a multiple of {math.gcd(width, multiple_of)}" in "".join(pruning.reasons)


def test_the_default_keeps_multiples_of_8():
    assert sk.prune_dead(straight(24, 13), example()).module.layers["dw"].groups == 16


def test_a_channel_kept_for_one_layer_stays_in_all_that_are_tied_to_it():
    network = Made(
        skip,
        stem=nn.Conv2d(3, 8, 1),
        dw1=depthwise(),
        one=nn.Conv2d(8, 8, 1),
        dw2=depthwise(16),
        two=nn.Conv2d(16, 2, 1),
    )
    planted(network, [1, 2, 3], network.layers["dw1"])
    planted(network, [1, 2, 3, 8, 9, 10, 11, 12], network.layers["dw2"])
    layers = pruned(network, multiple_of=4).module.layers  # 3 of the first 8 channels do not go, so 4 of the others do
    assert (layers["dw1"].groups, layers["one"].out_channels, layers["dw2"].groups) == (8, 4, 12)


def test_widths_are_settled_again_where_a_concatenation_keeps_a_channel():
    network = Made(
        lambda layers, x: layers["out"](layers["dw"](torch.cat([layers[name](x) for name in "abc"], 1))),
        **{name: nn.Conv2d(3, width, 1) for name, width in (("a", 4), ("b", 5), ("c", 9))},
        dw=depthwise(18),
        out=nn.Conv2d(18, 2, 1),
    )
    planted(network, [0, 1, 4, 5, 9, 10, 11])
    pruning = pruned(network, multiple_of=3)  # one of 7 stays for `dw`, two more for `c`, and one more for `dw` again
    assert [one.channel for one in pruning.left] == [5, 9, 10, 11]


def test_no_filter_is_blamed_for_those_that_go_with_it_only():
    network = straight(8, 0)
    with torch.no_grad():
        network.layers["dw"].weight[:2] = 1e-5 * torch.randn(2, 1, 3, 3)
        network.layers["dw"].weight[2:5] = 0
        network.layers["out"].weight[:, 0] = 1e4  # so that outputs would differ without it
    pruning = pruned(network, multiple_of=2)
    assert {one.channel: reason.split(" by ")[0] for one, reason in pruning.left.items() if "differ" in reason} == {
        0: "the outputs would differ"
    }
    assert pruning.filters == (8, 4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back_from_a_file(suffix, tmp_path):
    network = planted(Block())
    small, path = sk.prune_dead(network, example(), multiple_of=1).module, tmp_path / f"small{suffix}"
    torch.save(small.state_dict(), path) if suffix == ".pth" else save_file(small.state_dict(), path)
    again = sk.load_pruned(planted(Block()), path)
    inputs = example()
    assert torch.equal(again.eval()(inputs), small(inputs))
    assert again.filter.groups == 5


def test_weights_of_another_network_are_refused():
    small = sk.prune_dead(planted(Block()), example(), multiple_of=1).module.state_dict()
    with pytest.raises(CheckpointError, match=r"not those of the network Block with fewer channels .*'norm3"):
        sk.load_pruned(Block(project_bias=False), small)
    with pytest.raises(CheckpointError, match="with fewer channels"):
        sk.load_pruned(sk.load_pruned(Block(), small), Block().state_dict())


class Noisy(Block):
    def forward(self, x):
        return super().forward(x) + torch.rand(1)


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (Block(), torch.zeros(1, 4, 7, 7), {}, "the network Block does not run .*give inputs that it takes"),
        (Block(), [], {}, "batch 1: expected a tensor of inputs"),
        (Block(), torch.zeros(0, 3, 7, 7), {}, "Block gives no values that can be compared; give at least one"),
        (Block().half(), torch.zeros(1, 3, 7, 7), {}, "parameters of type torch.float16; prune it in float32"),
        (Noisy(), torch.zeros(1, 3, 7, 7), {}, "gives other outputs when it runs again"),
        (Block(), torch.full((1, 3, 7, 7), torch.nan), {}, "its outputs are not finite"),
        (Block(), torch.zeros(1, 3, 7, 7), {"tolerance": -1.0}, "tolerance is a share"),
        (Block(), torch.zeros(1, 3, 7, 7), {"multiple_of": 0}, "multiple_of is a whole number, 1 or more, got 0"),
        (Block(), torch.zeros(1, 3, 7, 7), {"multiple_of": 2.0}, "multiple_of is a whole number, 1 or more, got 2.0"),
    ],
)
def test_bad_input(network, inputs, options, message):
    with pytest.raises(ModelError, match=message):
        sk.prune_dead(network, inputs, **options)


def test_some_inputs_may_give_outputs_without_values():
    class Detector(nn.Module):
        def __init__(self, box):
            super().__init__()
            self.box = box

        def forward(self, x):
            return torch.full((int(x.flatten()[0] == 4), 6), self.box)

    reference = Reference(Detector(1.0), torch.tensor([4.0, 0.0]).view(1, 1, 1, 2))
    assert [reference.difference(Detector(box)) for box in (1.0, 1.5)] == [0.0, 0.5]


def test_an_output_that_is_no_number_is_a_difference():
    class Two(nn.Module):
        def __init__(self, second):
            super().__init__()
            self.second = second

        def forward(self, x):
            return x, self.second * x

    assert Reference(Two(1.0), torch.ones(1, 2, 3, 3)).difference(Two(float("nan"))) == float("inf")
