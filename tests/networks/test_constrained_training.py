"""Constrained networks go where networks go: copies, files, types, averages, mixed precision, several processes."""

import copy
import io
import itertools

import pytest
import torch
from depthwise_network import DEPTHWISE, ZERO, depthwise_network, images, kernel_of, kernels_of
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import scalekeys as sk
from scalekeys.networks.constrained.scale_space_kernel import LEARN


def weights_of(network):
    return [network.get_submodule(name).weight for name in DEPTHWISE]


def test_a_copy_is_independent(constrained):
    before, twin = constrained(images()), copy.deepcopy(constrained)
    assert torch.equal(twin(images()), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.1
    assert not torch.allclose(twin(images()), before)
    assert torch.equal(constrained(images()), before)


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_comes_back_from_a_file(network, fit, constrained, assign):
    with torch.no_grad():
        for parameter in constrained.parameters():
            parameter += 0.1
    file = io.BytesIO()
    torch.save(constrained.state_dict(), file)
    file.seek(0)
    fresh = sk.constrain(network, fit, "scales+amplitudes")
    fresh.load_state_dict(torch.load(file, weights_only=True), strict=True, assign=assign)
    assert torch.equal(fresh(images()), constrained(images()))


def test_a_state_serves_a_network_in_which_something_else_is_learned(network, fit):
    networks = {learn: sk.constrain(network, fit, learn) for learn in LEARN}
    for first, second in itertools.permutations(LEARN, 2):
        other = copy.deepcopy(networks[second])
        other.load_state_dict(networks[first].state_dict(), strict=True)
        torch.testing.assert_close(other.wide.weight, networks[first].wide.weight)


def test_the_type_of_the_network_leaves_the_kernels_exact(constrained):
    expected = weights_of(constrained)
    constrained.bfloat16()
    assert all(map(torch.equal, weights_of(constrained), (weight.bfloat16() for weight in expected)))
    constrained.to(torch.float32)
    assert torch.equal(constrained.wide.weight[:ZERO], expected[0][:ZERO])
    assert constrained(images()).dtype == torch.float32
    assert all(
        value.dtype == torch.float64 for kernel in kernels_of(constrained).values() for value in kernel.parameters()
    )


def test_it_goes_to_the_device_without_values_and_comes_back(constrained):
    state, expected = copy.deepcopy(constrained.state_dict()), constrained(images())
    constrained.to("meta")
    assert constrained(images().to("meta")).is_meta
    constrained.to_empty(device="cpu").load_state_dict(state)
    assert torch.equal(constrained(images()), expected)


def test_a_copy_of_data_parallelism_finds_its_tables(constrained):
    """Such a copy gets its parameters on another device without being told."""
    kernel = kernel_of(constrained.down)
    replica = kernel._replicate_for_data_parallel()
    replica.scales = replica.scales._replicate_for_data_parallel()
    for mine, its in ((kernel, replica), (kernel.scales, replica.scales)):
        for name, value in mine.named_parameters(recurse=False):
            setattr(its, name, value.to("meta"))
    free = constrained.down.parametrizations.weight.original.to("meta")
    assert replica(free).device.type == "meta"
    assert kernel(constrained.down.parametrizations.weight.original).device.type == "cpu"


def test_weights_lie_in_memory_as_they_did(network, fit):
    """Convolutions take the layout of their weight for that of their work."""
    contiguous, last = copy.deepcopy(network), network.to(memory_format=torch.channels_last)
    for before, after in (
        (contiguous, sk.constrain(contiguous, fit)),
        (last, sk.constrain(last, fit)),
        (last, sk.constrain(contiguous, fit).to(memory_format=torch.channels_last)),
    ):
        expected = [weight.stride() for weight in weights_of(before)]
        for twin in (after, copy.deepcopy(after), sk.bake(after), sk.replace(before, fit)):
            assert [weight.stride() for weight in weights_of(twin)] == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_weights_are_exact_and_gradients_arrive(constrained, dtype):
    reference, expected = copy.deepcopy(constrained), weights_of(constrained)
    with torch.autocast("cpu", dtype):
        assert all(map(torch.equal, weights_of(constrained), expected))
        outputs = constrained(images())
    assert outputs.dtype == dtype
    outputs.float().square().sum().backward()
    reference(images()).square().sum().backward()
    for kernel, other in zip(kernels_of(constrained).values(), kernels_of(reference).values(), strict=True):
        for mine, its in zip(kernel.parameters(), other.parameters(), strict=True):
            if its.grad is not None:
                assert mine.grad.dtype == torch.float64
                assert torch.cosine_similarity(mine.grad, its.grad, dim=0) > 0.99


def test_gradients_are_scaled_and_clipped(constrained):
    optimizer = torch.optim.SGD(constrained.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(constrained(images()).square().sum()).backward()
    scaler.unscale_(optimizer)
    assert clip_grad_norm_(constrained.parameters(), 0.5) > 0.5
    assert float(clip_grad_norm_(constrained.parameters(), 0.5, foreach=False)) == pytest.approx(0.5, rel=1e-4)
    before = kernel_of(constrained.wide).sigma
    scaler.step(optimizer)
    assert not torch.equal(kernel_of(constrained.wide).sigma, before)


@pytest.mark.parametrize("buffers", [False, True])
def test_moving_averages(constrained, buffers):
    """With a decay whose products round, so that an average of equal indices would be another index."""
    start = copy.deepcopy(constrained)
    average = AveragedModel(constrained, multi_avg_fn=get_ema_multi_avg_fn(0.9999), use_buffers=buffers)
    for _ in range(3):
        average.update_parameters(constrained)
    torch.testing.assert_close(average(images()), start(images()))
    with torch.no_grad():
        for parameter in constrained.parameters():
            parameter += 0.1
    average.update_parameters(constrained)
    theta, before = (kernel_of(one.wide).scales.theta for one in (average.module, start))
    torch.testing.assert_close(theta, before + 0.1 * (1 - 0.9999))


def test_nothing_of_a_kernel_is_averaged_or_sent_around_but_its_parameters(constrained):
    assert not [name for kernel in kernels_of(constrained).values() for name, _ in kernel.named_buffers()]


def test_in_data_parallel_wrappers(network, fit, constrained):
    wrapped = nn.DataParallel(constrained)
    assert torch.equal(wrapped(images()), constrained(images()))
    assert list(kernels_of(sk.constrain(nn.DataParallel(network), fit))) == list(DEPTHWISE)


def test_gradients_of_checkpointed_parts(constrained):
    reference = copy.deepcopy(constrained)
    torch.utils.checkpoint.checkpoint(constrained, images(), use_reentrant=False).square().sum().backward()
    reference(images()).square().sum().backward()
    for mine, its in zip(constrained.parameters(), reference.parameters(), strict=True):
        if its.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad)


def test_distributed_in_one_process(constrained):
    reference = copy.deepcopy(constrained)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        nn.parallel.DistributedDataParallel(constrained)(images()).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    reference(images()).square().sum().backward()
    for mine, its in zip(constrained.parameters(), reference.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if its.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad)


@pytest.mark.slow
def test_distributed_in_two_processes(constrained, tmp_path):
    """Each sees half of the images; the gradients are those of all of them."""
    torch.multiprocessing.spawn(_distributed_step, (str(tmp_path),), nprocs=2)
    constrained(images(4)).square().mean().backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, parameter in constrained.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)


def _distributed_step(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    network = depthwise_network()
    constrained = sk.constrain(network, sk.fit(sk.extract(network)), "scales+amplitudes")
    wrapped = nn.parallel.DistributedDataParallel(constrained)
    wrapped(images(4)[2 * rank : 2 * rank + 2]).square().mean().backward()
    gradients = {name: value.grad for name, value in constrained.named_parameters() if value.grad is not None}
    torch.save(gradients, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
