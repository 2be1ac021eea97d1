"""What becomes of the depthwise filters: where they start, and which of their numbers a training changes."""

import pytest
import torch
from torch import nn
from training_cases import filters, learned

import scalekeys as sk
from scalekeys.errors import ModelError, RecipeError
from scalekeys.training.cifar_convnext import CifarConvNeXt, DropPath
from scalekeys.training.depthwise import prepared
from scalekeys.training.optimization import parameter_groups
from scalekeys.training.recipe import Depthwise, Optimizer


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CifarConvNeXt(10, widths=(16, 16), depths=(1, 1))


@pytest.mark.parametrize("kind", ["noise", "matched-noise", "keys", "ideal8", "jet2", "dx,dy", "dog"])
def test_frozen_filters_have_the_norm_and_take_no_gradients(network, kind):
    made = prepared(network, Depthwise(kind, learn="none", norm=2.0), seed=0)
    assert learned(made) == {"bias"}
    norms = torch.linalg.vector_norm(filters(made), dim=(-2, -1))
    torch.testing.assert_close(norms, torch.full_like(norms, 2.0))
    assert torch.equal(made.head.weight, network.head.weight)


def test_every_key_and_every_family_is_there_as_often(network):
    keys = sk.assign_keys(sk.extract(prepared(network, Depthwise("keys", learn="none"), seed=0)))
    assert [(keys.index == key).sum().item() for key in range(8)] == [4] * 8
    fit = sk.fit(sk.extract(prepared(network, Depthwise("ideal8", learn="none", sigma=0.8), seed=0)))
    assert sorted(fit.family) == sorted(sk.MASTER_KEY_FAMILIES * 4)
    torch.testing.assert_close(fit.sigma, torch.full((32, 2), 0.8, dtype=torch.float64), atol=1e-3, rtol=0)


def test_the_seed_decides_which_channel_gets_which(network):
    one, same, other = (filters(prepared(network, Depthwise("keys"), seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "learn", "expected"),
    [
        ("ideal8", "scales", {"scales.theta"}),
        ("ideal8", "scales+amplitudes", {"scales.theta", "amplitude", "offset"}),
        ("jet2", "coefficients", {"coefficients", "offset"}),
        ("jet2", "scales+coefficients", {"scales.theta", "coefficients", "offset"}),
    ],
)
def test_what_is_learned(network, kind, learn, expected):
    made = prepared(network, Depthwise(kind, learn=learn), seed=0)
    start = filters(prepared(network, Depthwise(kind), seed=0))
    torch.testing.assert_close(filters(made), start, atol=1e-5, rtol=0)
    assert learned(made) == {"bias"} | {f"parametrizations.weight.0.{name}" for name in expected}


@pytest.mark.parametrize(
    ("kind", "learn", "names"),
    [
        ("jet2", "scales+coefficients", {"kernel.coefficients", "kernel.scales.theta"}),
        ("ideal8", "coefficients", {"kernel.coefficients"}),
    ],
)
def test_scale_space_layers_take_the_place_of_plain_ones(kind, learn, names):
    network = CifarConvNeXt(10, widths=(16, 16), depths=(1, 1), kernel=9)
    made = prepared(network, Depthwise(layers="scale-space", filters=kind, learn=learn, start=1.5), seed=0)
    assert learned(made) == {"bias"} | names
    layer = made.stages[0][0].depthwise
    assert isinstance(layer, sk.nn.ScaleSpaceConv2d)
    assert layer.kernel_size == (9, 9)
    torch.testing.assert_close(layer.sigma, torch.full((16, 2), 1.5, dtype=torch.float64))
    groups = parameter_groups(made, Optimizer(weight_decay=0.3), Depthwise(parameter_decay=0.7))
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decays[id(layer.kernel.coefficients)] == 0.7
    assert decays[id(layer.bias)] == 0.0
    assert type(sk.bake(made).stages[0][0].depthwise) is nn.Conv2d


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Depthwise(layers="scale-space"), "needs depthwise.filters with a model"),
        (Depthwise(layers="scale-space", filters="jet2"), "depthwise.learn: scales.coefficients or coefficients"),
        (
            Depthwise("jet2", layers="scale-space", learn="coefficients", tie="network"),
            "goes without tie: network",
        ),
    ],
)
def test_what_scale_space_layers_do_not_have_is_refused(network, wanted, message):
    with pytest.raises(RecipeError, match=message):
        prepared(network, wanted, seed=0)


def test_the_nearest_filters_are_those_of_a_replacement(network):
    with torch.no_grad():
        network.stages[0][0].depthwise.weight.copy_(3 * sk.master_keys()[:, None].repeat(2, 1, 1, 1) + 1)
    for kind, modelled in (("keys", sk.assign_keys), ("ideal8", sk.fit)):
        made = prepared(network, Depthwise(kind, "nearest", learn="none"), seed=0)
        torch.testing.assert_close(filters(made), filters(sk.replace(network, modelled(sk.extract(network)))))
        assert learned(made) == {"bias"}


def test_what_makes_no_sense_is_refused(network):
    with pytest.raises(RecipeError, match=r"depthwise\.learn: scales needs filters with a model.*not 'noise'"):
        prepared(network, Depthwise("noise", learn="scales"), seed=0)
    with pytest.raises(ModelError, match="ideal9"):
        prepared(network, Depthwise("ideal9"), seed=0)


def test_a_network_without_depthwise_layers_is_refused():
    with pytest.raises(sk.CheckpointError, match="has no depthwise layers"):
        prepared(nn.Sequential(nn.Conv2d(3, 4, 3)), Depthwise("keys"), seed=0)


@pytest.mark.parametrize(("kind", "assignment"), [("ideal8", "nearest"), ("ideal8", "random"), ("jet2", "nearest")])
def test_scales_start_where_they_are_told_to_and_filters_keep_their_norms(network, kind, assignment):
    with torch.no_grad():
        for stage in network.stages:
            stage[-1].depthwise.weight.copy_(sk.master_keys().repeat(2, 1, 1)[:, None] * 3 + 0.1)
    wanted = Depthwise(kind, assignment=assignment, learn="scales", start=1.5)
    free = prepared(network, Depthwise(kind, assignment=assignment, learn="scales"), seed=0)
    made = prepared(network, wanted, seed=0)
    for layer in (stage[-1].depthwise for stage in made.stages):
        sigma = layer.parametrizations.weight[0].sigma
        torch.testing.assert_close(sigma, torch.full_like(sigma, 1.5))
    one, other = filters(made), filters(free)
    assert not torch.allclose(one, other, atol=1e-2)
    norms = [values.flatten(1).std(1) for values in (one, other)]
    torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-5)


def test_a_start_needs_scales_that_are_learned(network):
    with pytest.raises(RecipeError, match=r"depthwise\.start: is for scales that are learned"):
        prepared(network, Depthwise("ideal8", learn="none", start=1.5), seed=0)


CHANGES = [("ideal8", "rotated"), ("ideal8", "shuffled"), ("keys", "rotated"), ("jet2", "shuffled")]


@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_filters_that_are_changed_have_the_norm_and_are_others(network, kind, change):
    plain, made, again = (
        filters(prepared(network, Depthwise(kind, learn="none", sigma=0.7, change=name), seed=0))
        for name in ("none", change, change)
    )
    torch.testing.assert_close(made.flatten(1).norm(dim=1), torch.ones(32))
    assert torch.equal(made, again)
    # the first layer is drawn before anything is changed: the same filters, taps in another order or turned
    one, other = plain[:16].flatten(1), made[:16].flatten(1)
    assert not torch.allclose(one, other, atol=0.1)
    if change == "shuffled":
        torch.testing.assert_close(one.sort(dim=1).values, other.sort(dim=1).values)


@pytest.mark.parametrize(("directed", "change"), [("dx", "rotated"), ("dphi", "none")])
def test_a_derivative_that_is_rotated_or_has_an_angle_is_one_in_any_direction(network, directed, change):
    def made(kind, change="none"):
        return filters(prepared(network, Depthwise(kind, learn="none", sigma=1.2, change=change), seed=0)).flatten(1)

    basis = torch.cat([made("dx")[:1], made("dy")[:1]])
    along = made(directed, change) @ basis.T
    # the rest is the grid: differences are derivatives up to the square of the frequency
    torch.testing.assert_close(along.square().sum(1), torch.ones(32), atol=0.06, rtol=0)
    angles = torch.atan2(along[:, 1], along[:, 0])
    assert len(angles.mul(2 / torch.pi).round().unique()) >= 4  # all quarters of the circle


@pytest.mark.parametrize(("kind", "deviation"), [("torch-default", 1 / 7 / 3**0.5), ("truncated-normal", 0.02)])
def test_initialisations_have_the_deviation_of_their_libraries(network, kind, deviation):
    made = filters(prepared(network, Depthwise(kind), seed=0))
    assert float(made.std()) == pytest.approx(deviation, rel=0.05)
    assert abs(float(made.mean())) < deviation / 5
    if kind == "torch-default":
        torch.manual_seed(1)
        own = nn.Conv2d(16, 16, 7, groups=16).weight.detach()
        assert float(made.abs().max()) == pytest.approx(float(own.abs().max()), rel=0.02)
    assert learned(prepared(network, Depthwise(kind), seed=0)) == {"weight", "bias"}


def test_matched_noise_has_the_means_of_the_families_and_their_extent(network):
    families, made, white = (
        filters(prepared(network, Depthwise(kind, learn="none", sigma=0.7), seed=0))
        for kind in ("ideal8", "matched-noise", "noise")
    )
    energy = [(values - values.mean((-2, -1), keepdim=True)).square().mean(0) for values in (families, made, white)]
    outside = [float(1 - one[2:5, 2:5].sum() / one.sum()) for one in energy]
    assert outside[0] < 0.1
    assert outside[1] < 0.1
    assert outside[2] > 0.7
    ours, theirs = (values[:16].flatten(1) for values in (made, families))  # of the same kinds, channel by channel
    torch.testing.assert_close(ours.mean(1), theirs.mean(1), atol=1e-5, rtol=0)
    fit = sk.fit(sk.extract(prepared(network, Depthwise("matched-noise", sigma=0.7), seed=0)))
    assert 0.3 < float(fit.r2.median()) < 0.95


def test_matched_noise_imitates_a_trained_network_layer_by_layer(network, tmp_path):
    from safetensors.torch import save_file

    trained = {name: value.clone() for name, value in network.state_dict().items()}
    pattern = torch.zeros(7, 7)
    pattern[3, 2:5] = torch.tensor([1.0, -2.0, 1.0])
    trained["stages.0.0.depthwise.weight"] = torch.arange(1.0, 17)[:, None, None, None] * pattern
    save_file(trained, tmp_path / "network.safetensors")
    for source in (tmp_path, tmp_path / "network.safetensors"):
        wanted = Depthwise("matched-noise", learn="none", covariance_from=str(source))
        first = filters(prepared(network, wanted, seed=0))[:16]
        similarity = (first * pattern / pattern.norm()).sum((-2, -1)).abs()
        torch.testing.assert_close(similarity, torch.ones(16))


def test_matched_noise_of_another_network_is_refused(network, tmp_path):
    torch.save(CifarConvNeXt(10, widths=(8, 16), depths=(1, 1)).state_dict(), tmp_path / "other.pt")
    wanted = Depthwise("matched-noise", covariance_from=str(tmp_path / "other.pt"))
    with pytest.raises(RecipeError, match=r"other: has no depthwise layer 'stages\.0\.0\.depthwise' of 16 filters"):
        prepared(network, wanted, seed=0)
    with pytest.raises(sk.CheckpointError, match="ideal9"):
        prepared(network, Depthwise("matched-noise", covariance_from="ideal9"), seed=0)


@pytest.mark.parametrize(
    "wanted",
    [
        Depthwise("as-is", change="rotated"),
        Depthwise("ideal8", "nearest", "none", change="shuffled"),
        Depthwise("ideal8", learn="scales", change="rotated"),
    ],
)
def test_filters_that_are_not_drawn_cannot_be_changed(network, wanted):
    with pytest.raises(RecipeError, match=r"depthwise\.change: .* is for filters that are drawn at random"):
        prepared(network, wanted, seed=0)


def test_a_block_that_is_always_left_out_changes_nothing():
    images = torch.ones(4, 3, 2, 2)
    assert not DropPath(1.0).train()(images).any()
