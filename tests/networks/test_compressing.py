"""Budgets: which filter gets which model, and what depends on it."""

from functools import cache

import pytest
import torch
from small_classifier import classifier, images
from torch import nn

import scalekeys as sk
from scalekeys.errors import FilterError, ModelError, ScaleKeysError
from scalekeys.filters.budget import within_budget
from scalekeys.filters.replacement import taps_of

MODELS = ("sparse2", "sparse4", "sparse9")


def labelled(network, seen):
    with torch.no_grad():
        return [(part, network(part).argmax(1)) for part in seen.split(50)]


@cache
def candidates():
    filters = torch.randn(12, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = [sk.replacement(sk.fit(filters, name)) for name in ("sparse2", "sparse5", "sparse11")]
    return found, [1 - one.r2 for one in found]


@pytest.mark.parametrize("budget", [73, 110, 160, 300])
def test_no_other_choice_of_as_few_numbers_loses_less(budget):
    found, losses = candidates()
    chosen = within_budget(found, losses, budget)
    used = int(chosen.numbers.sum())
    assert used <= budget
    numbers = torch.stack([*(one.numbers for one in found), taps_of(chosen.bank)]).numpy()
    cost = torch.stack([*losses, torch.zeros(12, dtype=torch.float64)]).numpy()
    best = {0: 0.0}  # the least loss for each number of numbers, by dynamic programming
    for filter_ in range(12):
        new = {}
        for count, loss in best.items():
            for model in range(4):
                total = count + int(numbers[model, filter_])
                new[total] = min(new.get(total, float("inf")), loss + cost[model, filter_])
        best = new
    mine = sum(1 - float(r2) for r2 in chosen.r2)
    assert mine == pytest.approx(min(loss for count, loss in best.items() if count <= used))


def test_more_numbers_never_lose_more_and_all_of_them_lose_nothing():
    found, losses = candidates()
    shares = [float(within_budget(found, losses, budget).r2.mean()) for budget in (72, 90, 130, 200, 300)]
    assert shares == sorted(shares)
    assert set(within_budget(found, losses, 300).model) == {"keep"}


def test_filters_are_those_of_the_chosen_models():
    found, losses = candidates()
    chosen = within_budget(found, losses, 110)
    by_name = {one.model[0]: one.filters.layers[0].kernels for one in found} | {"keep": chosen.bank.layers[0].kernels}
    for index, name in enumerate(chosen.model):
        assert torch.equal(chosen.filters.layers[0].kernels[index], by_name[name][index])


def test_less_than_the_models_need_is_refused():
    found, losses = candidates()
    with pytest.raises(FilterError, match="a budget of 71 numbers is less than the 72 that these models need"):
        within_budget(found, losses, 71)


def test_sensitivity_is_the_squared_gradient_of_the_log_probability():
    network = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    scale = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        scale.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0]]))
    seen = torch.randn(400, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    found = sk.sensitivity(nn.Sequential(network, scale), seen)["0.0"]
    with torch.no_grad():
        p = scale(network(seen)).softmax(1)[:, 0]
    # The gradient of log p(class) is 3 (1 or 0 - p) / 16 at each of 16 places, and p (1 - p) its expected square.
    assert float(found[0]) == pytest.approx(float((9 / 16 * p * (1 - p)).mean()), rel=0.1)
    assert float(found[1]) == 0


def test_sensitivity_wants_a_classifier_and_changes_nothing():
    network = classifier()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert list(sk.sensitivity(network, images())) == ["1", "5", "9"]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    with pytest.raises(ModelError, match="gives no logits"):
        sk.sensitivity(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3)), images())


def test_outputs_that_depend_on_no_depthwise_filter_are_not_sensitive_to_any():
    class Bypassed(nn.Module):
        def __init__(self):
            super().__init__()
            self.dw, self.head = nn.Conv2d(3, 3, 3, groups=3), nn.Linear(3, 2)

        def forward(self, images):
            self.dw(images)
            return self.head(images.mean((2, 3)))

    assert sk.sensitivity(Bypassed(), images())["dw"].tolist() == [0, 0, 0]
    assert sk.sensitivity(nn.Sequential(nn.Flatten(), nn.Linear(3 * images()[0, 0].numel(), 2)), images()) == {}


def test_outputs_that_are_not_finite_are_refused():
    network = classifier()
    network[1].weight.data[0] = torch.nan
    with pytest.raises(ModelError, match="its outputs are not finite"):
        sk.sensitivity(network, images())


@pytest.fixture(scope="module")
def keep():
    """Keep the models of the classifier, fitted to its responses to sixty images."""
    known = {}

    def keep(name, compute):
        if name not in known:
            known[name] = compute()
        return known[name]

    return keep


def test_a_network_keeps_to_its_budget_and_goes_on_working(keep):
    network, seen = classifier(), images(60)
    errors = []
    for budget in (0.4, 0.9):
        found = sk.compress(network, seen, budget=budget, models=MODELS, keep=keep)
        assert found.share <= budget
        assert found.before is None
        assert sk.extract(found.module).layers[0].kernels.ne(sk.extract(network).layers[0].kernels).any()
        with torch.no_grad():
            errors.append(float((found.module(seen) - network(seen)).square().mean()))
    assert errors[1] < errors[0]


def test_a_tolerance_is_kept_with_few_numbers():
    network, seen = classifier(), images(200)
    found = sk.compress(network, labelled(network, seen), tolerance=20.0, models=MODELS)
    assert found.before is not None
    assert found.after is not None
    assert found.before.top1 - found.after.top1 <= 0.2
    assert found.share < 0.9


def test_layers_outside_the_choice_are_not_touched_and_not_counted(keep):
    network, seen = classifier(), images(60)
    found = sk.compress(network, seen, budget=0.4, models=MODELS, layers=["9"], keep=keep)
    assert set(found.chosen.model[:20]) == {"keep"}
    assert found.share == pytest.approx(float(found.chosen.numbers[20:].sum()) / (6 * 25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either a budget, a share of the parameters, or a tolerance"),
        ({"budget": 0.5, "tolerance": 1.0}, "give either a budget"),
        ({"budget": 0.0}, "budget is a share of the depthwise parameters, above 0 and at most 1, got 0.0"),
        ({"budget": 1.5}, "at most 1, got 1.5"),
        ({"tolerance": -1.0}, "tolerance is in points of top-1 accuracy and not negative, got -1.0"),
    ],
)
def test_budgets_without_a_meaning_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        sk.compress(classifier(), images(), **options)


def test_a_tolerance_wants_labels():
    with pytest.raises(ModelError, match="batch 1: has inputs without labels"):
        sk.compress(classifier(), [images()], tolerance=1.0)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"layers": ["none"]}, "no layer"), ({"models": ["jet1", "a"]}, "'a'"), ({"models": []}, "models is empty")],
)
def test_a_name_that_is_unknown_is_refused_before_anything_is_fitted(options, match):
    def keep(name, compute):
        raise AssertionError(name)

    with pytest.raises(ScaleKeysError, match=match):
        sk.compress(classifier(), images(), budget=0.5, keep=keep, **options)
