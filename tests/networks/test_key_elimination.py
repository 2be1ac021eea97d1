"""Elimination of candidate keys: against an exhaustive search, the truth that was planted, and bad input."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from depthwise_network import random_filters
from scipy import stats
from torch import nn

import scalekeys as sk
from scalekeys.clustering import distinct_filters, with_other_keys
from scalekeys.clustering.elimination import CandidateErrors, eliminate, measurements
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.networks import OutputError, key_curve, output_error, replaced_by_keys
from scalekeys.networks.measuring.key_curve import curve_counts, curve_measurements

IMAGES = torch.randn(24, 3, 12, 12, generator=torch.Generator().manual_seed(1))
TRUE = [4, 5, 7]
"""The published keys of which the filters of the network are copies."""


@pytest.fixture(scope="module")
def network():
    """Two depthwise layers of 7x7, copies of three published keys, and one of 3x3 without keys."""
    torch.manual_seed(0)
    first, second, last = (nn.Conv2d(6, 6, side, padding=side // 2, groups=6) for side in (7, 7, 3))
    for layer in (first, second):
        with torch.no_grad():
            layer.weight.copy_((sk.master_keys()[TRUE * 2] * torch.randn(6, 1, 1).sign())[:, None] + 0.1)
    parts = (nn.Conv2d(3, 6, 1), first, nn.BatchNorm2d(6), nn.ReLU(), second, nn.ReLU(), last)
    network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    network = sk.recalibrate(network.eval(), IMAGES)
    with torch.no_grad():
        network[-1].bias -= network(IMAGES).mean(0)  # so that images have different classes
    return network


@pytest.fixture(scope="module")
def batches(network):
    """Images with the classes that the network gives them."""
    with torch.no_grad():
        return [(part, network(part).argmax(1)) for part in IMAGES.split(12)]


CANDIDATES = torch.cat([random_filters(3, 7, 7, seed=3), sk.master_keys()[TRUE]])
WIDE = ["1", "4"]


def _compared(filters=30, candidates=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    errors = torch.rand(filters, candidates, generator=generator, dtype=torch.float64)
    return CandidateErrors(torch.rand(filters, candidates, generator=generator, dtype=torch.float64), errors)


def test_the_cheapest_is_dropped_as_an_exhaustive_search_does():
    compared = _compared()
    left, removed, losses = list(range(9)), [], []
    while len(left) > 1:
        rest = {one: compared.loss([other for other in left if other != one]) for one in left}
        removed.append(min(rest, key=rest.get))
        left.remove(removed[-1])
        losses.append(rest[removed[-1]])
    rounds = eliminate(compared, keep=1)
    assert [one.removed for one in rounds] == [(one,) for one in removed]
    assert [one.loss for one in rounds] == pytest.approx(losses)


def test_a_measure_decides_among_the_cheapest_and_is_asked_as_often_as_said():
    asked = []

    def missed(left):  # candidate 5 is what the network needs most, whatever the responses say
        asked.append(left)
        return 1.0 - (5 in left)

    rounds = eliminate(_compared(60, 40), 3, missed, tries=2, measured=24)
    assert len(asked) == measurements(40, 3, tries=2, measured=24)
    assert max(map(len, asked)) == 23
    assert 5 not in {candidate for one in rounds if one.left < 24 for candidate in one.removed}
    assert [one.left for one in rounds] == sorted((one.left for one in rounds), reverse=True)


def test_errors_are_those_of_the_responses():
    generator = np.random.default_rng(0)
    filters, candidates = random_filters(4, 3, 3), random_filters(3, 3, 3, seed=1)
    roots = generator.normal(size=(4, 9, 9))
    covariance = roots @ roots.swapaxes(1, 2)
    bank = FilterBank((LayerFilters("a", filters), LayerFilters("unseen", filters)))
    found = CandidateErrors.of(bank, candidates, {"a": torch.from_numpy(covariance)})
    h = filters.flatten(1).numpy()
    h -= h.mean(1, keepdims=True)
    u = candidates.flatten(1).numpy()
    u -= u.mean(1, keepdims=True)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    energy = sum(h[i] @ covariance[i] @ h[i] for i in range(4))
    for i in range(4):
        for j in range(3):
            rest = h[i] - (h[i] @ u[j]) * u[j]
            assert found.errors[i, j] == pytest.approx(rest @ covariance[i] @ rest / energy)
    assert found.errors.shape == (4, 3)


@pytest.mark.parametrize("by", ["accuracy", "outputs", "responses"])
def test_planted_keys_remain_among_noise(network, batches, by):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = sk.eliminate_keys(network, CANDIDATES, batches, keep=3, by=by, layers=WIDE)
    assert found.order[:3].sort().values.tolist() == [3, 4, 5]
    torch.testing.assert_close(found.keys(), sk.master_keys()[TRUE], rtol=0, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    table = found.to_pandas()
    assert table.left.iloc[-1] == 3
    assert table.cost.notna().any() == (by != "responses")


def test_only_the_chosen_layers_are_replaced(network, batches):
    replaced = replaced_by_keys(network, sk.master_keys(), [batches[0][0]], layers=["4"])
    changed = {
        name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)
        and not torch.equal(layer.weight, replaced.get_submodule(name).weight)
    }  # fmt: skip
    assert changed == {"4"}
    with pytest.raises(FilterError, match="no layer is called 'head'"):
        sk.eliminate_keys(network, CANDIDATES, batches, keep=3, layers=["head"])


def test_the_curve_shows_elimination_and_controls_and_counts_its_measurements(network, batches):
    found = sk.eliminate_keys(network, CANDIDATES, batches[:1], keep=2, by="responses", layers=WIDE)
    counts, done = (6, 3, 2), []
    curve = key_curve(
        network, found, batches[1:], statistics=iter(batches), counts=counts, layers=WIDE, draws=4, progress=done.append
    )
    assert sum(done) == curve_measurements(counts, 6, 4)
    assert (curve.original, curve.inputs) == (1.0, 12)
    assert [point.source for point in curve.at(6)] == ["eliminated", "white noise", "matched noise"]
    mine, drawn, *noise = curve.at(3)
    direct = sk.evaluate(replaced_by_keys(network, found.keys(3), batches, layers=WIDE), batches[1:])
    assert (mine.value, mine.interval) == (direct.top1, direct.top1_interval)
    assert mine.loss.value == pytest.approx(direct.top1 - 1)
    assert (mine.value, [curve.as_good(one) for one in noise]) == (1.0, [0, 0])
    low, high = stats.ttest_1samp(drawn.values, 0).confidence_interval()
    assert drawn.interval == (pytest.approx(max(low, 0)), pytest.approx(min(high, 1)))
    assert drawn.value == pytest.approx(np.mean(drawn.values))
    assert len(curve.to_pandas()) == 3 + 4 + 4


def test_the_curve_of_outputs_needs_no_labels(network, batches):
    inputs = [images for images, _ in batches]
    found = sk.eliminate_keys(network, CANDIDATES, inputs, keep=3, by="responses", layers=WIDE)
    curve = key_curve(network, found, inputs, statistics=inputs, measured="outputs", layers=WIDE, draws=2)
    eliminated, drawn, *_ = curve.at(3)
    changed = replaced_by_keys(network, found.keys(), inputs, layers=WIDE)
    assert eliminated.value == pytest.approx(output_error(changed, network, inputs).value)
    assert eliminated.value < min(drawn.values)
    assert (eliminated.loss, curve.as_good(drawn)) == (None, 0)


def test_the_interval_of_an_error_is_that_of_a_bootstrap():
    generator = np.random.default_rng(0)
    original = generator.normal(size=(300, 4))
    error = OutputError.of(*map(torch.from_numpy, (original + generator.exponential(0.3, (300, 4)), original)))
    drawn = generator.integers(300, size=(4000, 300))
    shares = error.errors.numpy()[drawn].sum(1) / error.spread.numpy()[drawn].sum(1)
    np.testing.assert_allclose(error.interval, np.quantile(shares, (0.025, 0.975)), rtol=0.02)
    single = OutputError(torch.ones(1), torch.ones(1))
    assert single.interval == (0.0, np.inf)
    assert OutputError.of(torch.full((2, 1), torch.nan), torch.eye(2)[:, :1]).value == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": 6}, "got keep=6 of 6 candidates"),
        ({"keep": 0}, "at least one of the candidates"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"by": "luck"}, "unknown by='luck'; choose one of accuracy, outputs, responses"),
        ({"batches": torch.ones(2, 3, 12, 12)}, "has inputs without labels"),
        ({"candidates": torch.ones(9, 7)}, "no kernel has one axis"),
    ],
)
def test_what_cannot_be_eliminated_is_refused(network, batches, change, message):
    options = {"candidates": CANDIDATES, "batches": batches, "keep": 3, "layers": WIDE} | change
    with pytest.raises((ModelError, FilterError), match=message):
        sk.eliminate_keys(network, options.pop("candidates"), options.pop("batches"), **options)


def test_numbers_that_a_curve_cannot_have_are_refused(network, batches):
    found = sk.eliminate_keys(network, CANDIDATES, batches, keep=3, by="responses", layers=WIDE)
    for change, message in (
        ({"counts": [2]}, "went from 6 candidates to 3; it has no 2"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"measured": "luck"}, "unknown measured='luck'"),
    ):
        with pytest.raises(ModelError, match=message):
            key_curve(network, found, batches, statistics=batches, **change)


def test_a_curve_counts_from_all_candidates_to_a_tenth():
    assert curve_counts(64, 8) == (64, 32, 16, 8, 6)
    assert curve_counts(3, 1) == (3, 1)


def test_other_keys_take_the_place_of_those_found():
    bank = FilterBank.from_tensor(torch.cat([sk.master_keys(), -2 * sk.master_keys()[:3] + 1]))
    found = sk.cluster(bank, 2, restarts=1)
    other = with_other_keys(found, 3 * sk.master_keys() + 1)
    assert other.explained == pytest.approx(1)
    assert other.counts.tolist() == [2, 2, 2, 1, 1, 1, 1, 1]
    assert (other.white_noise, other.matched_noise) == (found.white_noise, found.matched_noise)
    with pytest.raises(FilterError, match="keys of 3x3 cannot take the place of keys of 7x7"):
        with_other_keys(found, torch.ones(2, 3, 3))
    with pytest.raises(FilterError, match="a constant filter"):
        with_other_keys(found, torch.ones(2, 7, 7))


def test_filters_are_candidates_without_their_copies(monkeypatch):
    bank = FilterBank.from_tensor(torch.cat([sk.master_keys(), -2 * sk.master_keys() + 1, torch.ones(1, 7, 7)]))
    assert distinct_filters(bank).shape == (8, 7, 7)
    monkeypatch.setattr("scalekeys.clustering.api._CANDIDATES", 10)
    with pytest.raises(FilterError, match="16 filters are too many candidates for keys, at most 10; cluster them"):
        distinct_filters(bank)


def test_outputs_of_networks_of_several_types_are_compared(network):
    half = deepcopy(network).bfloat16()
    assert (
        0
        < output_error(half, network, IMAGES).value
        == pytest.approx(output_error(network, half, IMAGES).value, rel=0.1)
    )
    squeezed = nn.Sequential(*network, nn.Linear(4, 1), nn.Flatten(0))
    assert output_error(squeezed, squeezed, IMAGES).value == 0


@pytest.mark.usefixtures("without_shape_checks")
def test_outputs_that_cannot_be_compared_are_refused(network):
    shorter = nn.Sequential(*network, nn.Linear(4, 1))
    with pytest.raises(ModelError, match="the networks give 1 and 4 numbers for each input"):
        output_error(shorter, network, IMAGES)
    single = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))
    with pytest.raises(
        ModelError, match=r"a tensor of shape \(4,\) for inputs of shape \(3, 12, 12\), not outputs for"
    ):
        output_error(single, single, IMAGES[0])
    with pytest.raises(ModelError, match="the batches hold no inputs"):
        output_error(network, network, IMAGES[:0])
