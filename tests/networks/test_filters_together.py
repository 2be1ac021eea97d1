"""The filters of a constrained network computed together: the same as layer by layer, whatever happens around them."""

import copy
import gc
import io

import pytest
import torch
from depthwise_network import random_filters
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import scalekeys as sk
from scalekeys.networks.constrained.learned_offsets import learn_offsets
from scalekeys.networks.constrained.scale_space_kernel import ScaleSpaceKernel
from tolerances import assert_close

MODELS = {
    "ideal8": {},
    ("jet2", "dog", "smooth"): {"scale": "softplus"},
    "dog": {"tie": "network"},
    ("sharpen", "dx"): {"norm": "unit", "learn": "scales"},
}


class Blocks(nn.Module):
    """Layers of two sizes, two of one size, with filters that are no models; run by a checkpoint if one is given."""

    def __init__(self) -> None:
        super().__init__()
        shapes = ((6, (5, 5)), (6, (3, 5)), (6, (5, 5)), (6, (5, 5)))
        self.blocks = nn.ModuleList(nn.Conv2d(n, n, size, groups=n, padding="same") for n, size in shapes)
        self.run = nn.Module.__call__
        with torch.no_grad():
            for seed, block in enumerate(self.blocks):
                block.weight.copy_(random_filters(*block.weight.shape, seed=seed))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            maps = maps + self.run(block, maps)
        return maps


def constrained(model="jet2", learn="scales+coefficients", **options) -> nn.Module:
    network = Blocks()
    fit = sk.fit(sk.extract(network), model)
    return sk.constrain(network, fit, learn, min_r2=float(fit.r2.nanquantile(0.2)), **options)


def alone(network: nn.Module) -> nn.Module:
    """Return a copy that computes layer by layer."""
    twin = copy.deepcopy(network)
    twin._forward_pre_hooks.clear()
    return twin


def maps() -> torch.Tensor:
    return random_filters(2, 6, 9, 9, seed=9).float()


def gradients(network: nn.Module, **options) -> dict[str, torch.Tensor]:
    network.zero_grad()
    network(maps()).square().mean().backward(**options)
    return {name: one.grad for name, one in network.named_parameters() if one.grad is not None}


def assert_same_gradients(mine, its):
    assert mine.keys() == its.keys()
    for name, gradient in its.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_outputs_and_gradients_are_those_of_layers_alone(model):
    network = constrained(model, **MODELS[model])
    its = alone(network)
    assert_close(network(maps()), its(maps()), absolute=1e-5)
    assert_same_gradients(gradients(network), gradients(its))
    with torch.inference_mode():
        assert_close(network(maps()), its(maps()), absolute=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_with_checkpoints(reentrant):
    network = constrained()
    wanted = gradients(network)
    inputs = maps().requires_grad_()
    network.run = lambda block, maps: checkpoint(block, maps, use_reentrant=reentrant)
    network.zero_grad()
    network(inputs).square().mean().backward()
    assert_same_gradients({n: p.grad for n, p in network.named_parameters() if p.grad is not None}, wanted)


def test_going_back_twice_and_over_two_passes():
    network = constrained()
    wanted = gradients(network)
    network.zero_grad()
    first, second = network(maps()), network(maps())
    for part in (first[:, :3], first[:, 3:], second[:, :3], second[:, 3:]):
        part.square().sum().div(2 * second.numel()).backward(retain_graph=True)
    assert_same_gradients({n: p.grad for n, p in network.named_parameters() if p.grad is not None}, wanted)


def test_numbers_of_a_layer_that_a_pass_leaves_out_get_no_gradients():
    network = constrained()
    its = alone(network)
    for one in (network, its):
        left_out = one.blocks[2]
        one.run = lambda block, maps, left_out=left_out: maps if block is left_out else block(maps)
    wanted = gradients(its)
    assert not any(name.startswith("blocks.2") for name in wanted)
    assert_same_gradients(gradients(network), wanted)


def test_gradients_of_gradients_are_those_of_layers_alone():
    together, found = constrained(), []
    for network in (together, alone(together)):
        numbers = [one for one in network.parameters() if one.requires_grad]
        first = torch.autograd.grad(network(maps()).square().mean(), numbers, create_graph=True)
        second = torch.autograd.grad(sum(one.square().sum() for one in first), numbers, allow_unused=True)
        found.append({str(place): one for place, one in enumerate(second) if one is not None})
    assert_same_gradients(*found)


def test_a_number_that_changes_during_a_pass_counts():
    network = constrained()
    kernel = network.blocks[3].parametrizations.weight[0]

    def double(*_):
        with torch.no_grad():
            kernel.amplitude.mul_(2)

    network.blocks[2].register_forward_hook(double)
    found = network(maps())
    assert_close(found, alone(network)(maps()), absolute=1e-5)  # the copy has the doubled number from the start


def test_nothing_is_left_after_a_pass():
    network = constrained()
    before = network.blocks[0].weight
    network(maps())
    with torch.no_grad():
        for one in network.blocks[0].parametrizations.weight[0].parameters():
            one.data.add_(0.1)
    assert (network.blocks[0].weight - before).abs().max() > 0.01
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 5, 9, 9))
    assert "_prepared_kernels" not in vars(network)
    copy.deepcopy(network)
    torch.save(network.state_dict(), io.BytesIO())


@pytest.mark.parametrize("twin", [lambda network: network, alone], ids=["together", "alone"])
def test_no_pass_keeps_memory(twin):
    network = twin(constrained())
    counts = []
    for _ in range(3):
        gradients(network)
        network(maps())
        network.zero_grad()
        gc.collect()
        counts.append(sum(type(one) is torch.Tensor for one in gc.get_objects()))
    assert counts[1] == counts[2]


def test_other_numbers_for_one_pass():
    network = constrained()
    moved = {name: one.detach() + 0.1 for name, one in network.named_parameters()}
    other = copy.deepcopy(network)
    other.load_state_dict(moved, strict=False)
    assert_close(functional_call(network, moved, (maps(),)), other(maps()), absolute=1e-5)


def test_constrained_again_it_has_the_hooks_once():
    network = constrained(layers=["blocks.0"])
    again = sk.constrain(network, sk.fit(sk.extract(network), "jet2"), layers=["blocks.2", "blocks.3"])
    assert len(again._forward_pre_hooks) == len(again._forward_hooks) == 1
    assert_close(again(maps()), alone(again)(maps()), absolute=1e-5)


@pytest.mark.parametrize("twin", [lambda network: network, alone], ids=["together", "alone"])
def test_numbers_that_change_before_the_backward_pass(twin):
    network = twin(constrained())
    wanted = gradients(network)
    network.zero_grad()
    loss = network(maps()).square().mean()
    with torch.no_grad():
        for one in network.blocks[0].parametrizations.weight[0].parameters():
            one.mul_(1.5)
    loss.backward()
    assert_same_gradients({n: p.grad for n, p in network.named_parameters() if p.grad is not None}, wanted)


def test_numbers_that_change_before_gradients_of_gradients_are_refused():
    network = alone(constrained())
    loss = network(maps()).square().mean()
    with torch.no_grad():
        network.blocks[0].parametrizations.weight[0].amplitude.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place after the forward pass"):
        torch.autograd.grad(loss, network.blocks[0].parametrizations.weight[0].coefficients, create_graph=True)


def test_other_numbers_for_one_layer_within_a_pass():
    network = constrained()
    moved = {name: one.detach() + 0.1 for name, one in network.blocks[2].named_parameters()}
    other = copy.deepcopy(network)
    other.blocks[2].load_state_dict(moved, strict=False)
    network.run = lambda block, maps: (
        functional_call(block, moved, (maps,)) if block is network.blocks[2] else block(maps)
    )
    assert_close(network(maps()), other(maps()), absolute=1e-5)


def test_what_fails_while_filters_are_computed_leaves_nothing(monkeypatch):
    network = constrained()
    prepare, done = ScaleSpaceKernel.prepare, []

    def prepare_one(kernel, *filters):
        if filters[0] is not None and done:
            raise MemoryError
        done.append(kernel)
        prepare(kernel, *filters)

    monkeypatch.setattr(ScaleSpaceKernel, "prepare", prepare_one)
    with pytest.raises(MemoryError):
        network(maps())
    assert done[0]._prepared is None


PLAIN = {
    "bake": sk.bake,
    "replace": lambda network: sk.replace(network, sk.fit(sk.extract(network), "smooth")),
    "crop": lambda network: sk.crop(network, layers={"*": (3, 3)}).module,
    "separate": lambda network: sk.separate(network, rank=1, runtime=None).module,
    "learn_offsets": learn_offsets,
}


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
def test_without_constrained_layers_a_copy_has_no_hooks(change):
    plain = change(nn.Sequential(constrained()))
    for part in plain.modules():
        assert not any((part._forward_pre_hooks, part._forward_hooks, part._forward_hooks_always_called))
        assert not isinstance(part, ScaleSpaceKernel)


def test_a_cuda_graph_is_refused(monkeypatch):
    network = constrained()
    for name in ("is_initialized", "is_current_stream_capturing"):
        monkeypatch.setattr(torch.cuda, name, lambda: True)
    for run in (network, network.blocks[0]):
        with pytest.raises(sk.ModelError, match=r"cannot be captured in a CUDA graph.*capture sk\.bake"):
            run(maps())


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module.*returned a view:UserWarning")
def test_fully_sharded_with_a_unit_for_each_kernel(tmp_path):
    network = constrained()
    wanted = gradients(network)
    outputs = network(maps()).detach()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        kernels = [part for part in network.modules() if isinstance(part, ScaleSpaceKernel)]
        for unit in (*kernels, *network.blocks, network):
            fully_shard(unit, mesh=mesh)
        assert_close(network(maps()), outputs, absolute=1e-5)
        assert_same_gradients({name: one.full_tensor() for name, one in gradients(network).items()}, wanted)
    finally:
        torch.distributed.destroy_process_group()


def test_a_copy_with_constrained_layers_still_computes_them_together():
    network = constrained()
    changed = sk.replace(network, sk.fit(sk.extract(network), "smooth"), layers=["blocks.0"])
    assert len(changed._forward_pre_hooks) == len(changed._forward_hooks) == 1
    assert_close(changed(maps()), alone(changed)(maps()), absolute=1e-5)
    assert len(network._forward_pre_hooks) == 1
