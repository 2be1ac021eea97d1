"""Counts of correct images, by hand and by scikit-learn, their intervals, and what cannot be evaluated."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import top_k_accuracy_score
from torch import nn

import scalekeys as sk
import torchvision_placeholder
from scalekeys.errors import ModelError
from scalekeys.proportions import paired_interval, wilson_interval
from tolerances import PUBLISHED_4_DECIMALS


class Scores(nn.Module):
    """Gives its images as they are, in the form that a network has."""

    def __init__(self, form=lambda scores: scores):
        super().__init__()
        self.form = form

    def forward(self, images):
        return self.form(images.flatten(1))


def random_batches(count=90, classes=7, size=20):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=generator)
    scores = torch.randn(count, classes, generator=generator) + 2 * nn.functional.one_hot(labels, classes)
    return scores, labels, list(zip(scores[:, :, None, None].split(size), labels.split(size), strict=True))


SCORES, LABELS, BATCHES = random_batches()


def test_accuracies_are_those_of_scikit_learn():
    found = sk.evaluate(Scores(), BATCHES)
    assert found.count == 90
    assert found.classes == 7
    for k, share in ((1, found.top1), (5, found.top5)):
        assert share == pytest.approx(top_k_accuracy_score(LABELS, SCORES, k=k, labels=range(7)), rel=1e-12)
    assert torch.equal(found.correct1, SCORES.argmax(1) == LABELS)
    assert torch.equal(found.correct5, (SCORES.topk(5).indices == LABELS[:, None]).any(1))
    assert torch.equal(found.labels, LABELS)


@pytest.mark.parametrize("size", [1, 33, 90])
def test_it_does_not_matter_how_images_come_in_batches(size):
    found = sk.evaluate(Scores(), random_batches(size=size)[2])
    assert torch.equal(found.correct1, sk.evaluate(Scores(), BATCHES).correct1)


FORMS = {
    "tensor": lambda scores: scores,
    "one pixel": lambda scores: scores[:, :, None, None],
    "tuple": lambda scores: (scores, scores.sum()),
    "list": lambda scores: [scores],
    "logits": lambda scores: SimpleNamespace(logits=scores, loss=None),
    "dict": lambda scores: {"loss": None, "logits": scores},
    "half": lambda scores: scores.bfloat16(),
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_come_in_every_form_of_classifiers(form):
    scores = torch.eye(8) * torch.arange(1, 9)[:, None]
    found = sk.evaluate(Scores(FORMS[form]), [(scores[:, :, None, None], torch.arange(8).where(scores[:, 0] == 0, 7))])
    assert found.correct1.tolist() == [False] + [True] * 7


def test_outputs_of_transformers_are_understood():
    torchvision_placeholder.install()
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextV2Config(hidden_sizes=[4, 4], depths=[1, 1], num_stages=2, num_labels=6)
    network = transformers.ConvNextV2ForImageClassification(config)
    images, labels = torch.randn(3, 3, 32, 32), torch.tensor([0, 5, 2])
    found = sk.evaluate(network, [{"pixel_values": images, "labels": labels}])
    with torch.no_grad():
        assert torch.equal(found.correct1, network.eval()(images).logits.argmax(1) == labels)


def test_of_equal_outputs_the_first_counts():
    scores, labels = torch.zeros(4, 7), torch.tensor([0, 1, 4, 5])
    found = sk.evaluate(Scores(), [(scores, labels)])
    assert found.correct1.tolist() == (scores.argmax(1) == labels).tolist() == [True, False, False, False]
    assert found.correct5.tolist() == [True, True, True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_images_with_outputs_that_are_not_finite_are_wrong_and_counted(value):
    scores = torch.eye(7) + 1
    scores[2, 5] = value
    found = sk.evaluate(Scores(), [(scores, torch.arange(7))])
    assert found.correct1.tolist() == found.correct5.tolist() == [True, True, False, True, True, True, True]
    assert found.non_finite == 1
    assert "1 not finite" in repr(found)


@pytest.mark.parametrize("classes", [2, 5])
def test_with_five_classes_or_fewer_every_image_is_among_the_first_five(classes):
    scores, labels, batches = random_batches(classes=classes)
    found = sk.evaluate(Scores(), batches)
    assert found.top5 == 1
    assert torch.equal(found.correct1, scores.argmax(1) == labels)


def test_the_network_is_evaluated_as_it_is_and_comes_back_as_it_was():
    network = nn.Sequential(nn.Dropout(0.9), nn.Flatten(), nn.BatchNorm1d(7))
    network[2].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seen = []
    network.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.requires_grad)))
    assert sk.evaluate(network, BATCHES).top1 == sk.evaluate(Scores(), BATCHES).top1
    assert set(seen) == {(False, False)}
    assert [module.training for module in network] == [True, True, False]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_it_tells_how_far_it_is():
    steps = []
    sk.evaluate(Scores(), BATCHES, progress=steps.append)
    assert steps == [20, 20, 20, 20, 10]


def test_empty_batches_are_passed_over():
    found = sk.evaluate(Scores(), [(SCORES[:0], LABELS[:0]), (SCORES, LABELS), (SCORES[:0], LABELS[:0])])
    assert found.count == 90


@pytest.mark.parametrize(
    ("module", "batches", "match"),
    [
        (
            Scores(),
            [(SCORES, LABELS), (SCORES, LABELS + 1)],
            "batch 2: label 7 is none of the 7 classes .* from 0 to 6",
        ),
        (Scores(), [(SCORES, LABELS - 1)], "label -1 is none of the 7 classes of the network"),
        (Scores(), [SCORES], "batch 1: has inputs without labels"),
        (Scores(), [], "batches is empty"),
        (Scores(), [(SCORES[:0], LABELS[:0])], "the batches hold no inputs; give at least one"),
        (Scores(lambda scores: scores[:1]), BATCHES, r"a tensor of shape \(1, 7\) and type float32 for 20 images, not"),
        (Scores(lambda scores: scores[:, :1]), BATCHES, r"of shape \(20, 1\) .* two classes or more"),
        (Scores(lambda scores: scores.argmax(1)), BATCHES, r"of shape \(20,\) and type int64 for 20 images"),
        (nn.Identity(), [(torch.zeros(1, 3, 8, 8), [0])], r"of shape \(1, 3, 8, 8\) and type float32 for 1 image, not"),
        (Scores(lambda scores: {"out": scores}), BATCHES, "gives a dict without a tensor of outputs for the classes"),
        (Scores(lambda scores: None), BATCHES, "gives a NoneType without a tensor of outputs"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(module, batches, match):
    with pytest.raises(ModelError, match=match):
        sk.evaluate(module, batches)


@given(st.integers(1, 600), st.data())
def test_the_interval_of_a_share_is_that_of_scipy(count, data):
    successes = data.draw(st.integers(0, count))
    expected = binomtest(successes, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("cells", "limits"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, method 10
        ((59, 6, 16, 80), (-0.1186, -0.0046)),  # the R package contingencytables, Newcombe_square_and_add_CI_paired_2x2
    ],
)
def test_the_interval_of_a_paired_difference_is_that_of_the_literature(cells, limits):
    assert paired_interval(*cells) == pytest.approx(limits, abs=PUBLISHED_4_DECIMALS)


cells = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@given(cells)
def test_a_paired_interval_holds_the_difference_and_turns_with_the_order(cells):
    both, first, second, neither = cells
    low, high = paired_interval(*cells)
    difference = (first - second) / sum(cells)
    assert -1 - 1e-12 <= low <= difference <= high <= 1 + 1e-12
    assert high > low
    turned = paired_interval(both, second, first, neither)
    assert turned == pytest.approx((-high, -low), abs=1e-12)


def test_two_networks_are_compared_image_by_image():
    worse = sk.evaluate(Scores(lambda scores: scores.roll(1, 1).where(scores[:, :1] > 1, scores)), BATCHES)
    better = sk.evaluate(Scores(), BATCHES)
    for top in (1, 5):
        mine, theirs = (getattr(one, f"correct{top}") for one in (better, worse))
        found = better.difference(worse, top)
        assert found.value == pytest.approx((mine.double().mean() - theirs.double().mean()).item(), abs=1e-12)
        assert (found.gained, found.lost) == (int((mine & ~theirs).sum()), int((theirs & ~mine).sum()))
        counts = (int((mine & theirs).sum()), found.gained, found.lost, int((~mine & ~theirs).sum()))
        assert found.interval == paired_interval(*counts)
    assert better.difference(worse).gained > 5
    same = better.difference(better)
    assert same.value == 0
    assert same.interval[0] < 0 < same.interval[1]


def test_evaluations_of_other_images_have_no_difference():
    one, other = sk.evaluate(Scores(), BATCHES), sk.evaluate(Scores(), BATCHES[1:])
    with pytest.raises(ModelError, match=r"different images \(90 and 70, or in another order\) have no paired"):
        one.difference(other)


def test_figures_for_machines():
    found = sk.evaluate(Scores(), BATCHES)
    figures = found.to_dict()
    assert figures["count"] == 90
    assert figures["top1"] == found.top1
    assert figures["top5_interval"] == list(found.top5_interval)
