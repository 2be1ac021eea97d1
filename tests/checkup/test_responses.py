"""A check-up by images: what they add to what the weights tell, and what it says of advice that was followed."""

import pytest
import torch
from planted import smooth, white
from torch import nn

import scalekeys as sk
from scalekeys.checkpoints import open_source
from scalekeys.checkup.normalisations import batch_norms_of
from scalekeys.checkup.responses import Responses
from scalekeys.errors import ModelError


def network(kernels, channels=32):
    torch.manual_seed(0)
    side = kernels.shape[-1]
    found = nn.Sequential(
        nn.Conv2d(3, channels, 1),
        nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 4),
    ).eval()
    with torch.no_grad():
        found[1].weight.copy_(kernels[:, None])
    return found


@pytest.fixture(scope="module")
def images():
    return torch.randn(40, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def found(checkup, name):
    return next((advice for advice in checkup.advice if advice.name == name), None)


def test_filters_that_no_image_moves_are_dead_only_by_images(images):
    still = network(smooth())
    still[0].weight.data[:8], still[0].bias.data[:8] = 0, 0
    assert found(sk.check(still), "dead-filters") is None
    dead = found(sk.check(still, images=images), "dead-filters")
    assert dead.places[0].filters == 8
    assert "0 are zero" in dead.evidence
    assert dead.followed.parameters[1] < dead.followed.parameters[0]
    assert dead.followed.change < 1e-9


def test_what_is_measured_is_what_the_command_does(images):
    few = network(smooth())
    few[1].weight.data[:3] = 0
    dead = found(sk.check(few, images=images), "dead-filters")
    assert " --multiple-of 1 " in dead.command
    before, after = dead.followed.parameters
    assert before - after == 3 * (4 + 26 + 2 + 4)  # a pixel's weights and bias, a kernel and bias, a norm, the classes


def test_a_change_of_nothing_is_not_called_done(images):
    padded = network(nn.functional.pad(smooth(), (2, 2, 2, 2)))
    padded[1].padding = (1, 1)  # which does not shrink with the kernels
    large = found(sk.check(padded, images=images), "too-large")
    assert large.followed.told.startswith("It could not be done to this network: nothing changes (")
    assert large.followed.parameters is None


def test_cropping_is_followed_and_its_cost_is_measured_on_inputs_that_it_was_not_matched_on(images):
    large = network(nn.functional.pad(smooth(), (2, 2, 2, 2)))
    labels = large(images).argmax(1)
    advice = found(sk.check(large, data=[(images, labels)]), "too-large")
    assert "On these images responses change" in advice.expect
    assert advice.followed.measure == "points of top-1"
    assert advice.followed.inputs == 20
    before, after = advice.followed.parameters
    assert before == sum(parameter.numel() for parameter in large.parameters())
    assert before - after == 32 * (81 - 25)
    low, high = advice.followed.interval
    assert low <= advice.followed.change <= high


def test_the_halves_share_no_input_and_leave_none_out(images):
    halves = Responses.of(network(smooth()), images.split(7), labelled=False)
    both = torch.cat(halves.inputs)
    assert halves.count == 40
    assert torch.equal(both.flatten(1).sort(0).values, images.flatten(1).sort(0).values)


def test_a_network_whose_pitch_is_unknown_is_not_asked_for_again():
    class Fixed(nn.Sequential):
        def forward(self, x):
            return super().forward(x.view(-1, 3, 12, 12))

    (note,) = [one for one in sk.check(Fixed(network(smooth())), size=12).skipped if "reach" in one]
    assert "give the network" not in note


def test_what_cannot_be_done_to_a_network_is_told(images):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(smooth())

        def forward(self, x):
            return self.inner(x) * (1 if float(x.detach().sum()) > 1e9 else 2)

    odd = Odd()
    odd.inner[1].weight.data[:3] = 0
    dead = found(sk.check(odd, images=images), "dead-filters")
    assert dead.followed.told.startswith("It could not be done to this network: ")
    assert dead.followed.change is None


def test_small_variances_are_found_only_where_their_factor_counts():
    one = network(white())
    assert found(sk.check(one), "small-variances") is None
    one[2].running_var[:3] = 1e-8
    one[2].weight.data[0] = 1e-9
    advice = found(sk.check(one), "small-variances")
    assert (advice.places[0].layer, advice.places[0].filters, advice.places[0].of) == ("2", 2, 32)
    assert "10 % of their size" in advice.expect  # the root of 1e-5 / 1e-3


def test_batch_norms_of_torch_and_keras_are_read():
    state = {
        "dw.weight": white()[:, None],
        "bn.running_var": torch.full((4,), 2.0),
        "bn.weight": torch.full((4,), 3.0),
        "block/bn/moving_variance:0": torch.full((5,), 5.0),
        "block/bn/gamma:0": torch.full((5,), 7.0),
        "plain.running_var": torch.ones(6),
    }
    norms = {norm.name: (float(norm.variance[0]), float(norm.factor[0])) for norm in batch_norms_of(open_source(state))}
    assert norms == {"bn": (2.0, 3.0), "block/bn": (5.0, 7.0), "plain": (1.0, 1.0)}


def test_bad_inputs_are_refused(images):
    one = network(smooth())
    with pytest.raises(ModelError, match="at least 20 of them, got 4"):
        sk.check(one, images=images[:4])
    with pytest.raises(ModelError, match="either images without labels, or data with labels"):
        sk.check(one, images=images, data=images)
    with pytest.raises(ModelError, match="give the module and not its weights"):
        sk.check(sk.extract(one), images=images)
    with pytest.raises(ModelError, match="without labels"):
        sk.check(one, data=[images])
