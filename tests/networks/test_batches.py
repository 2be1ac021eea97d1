"""Labelled batches in every form of data loaders, and what is refused."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

import scalekeys as sk
from scalekeys.errors import ModelError
from scalekeys.fitting import Fit
from scalekeys.networks.running.batches import inputs_of, labelled_inputs_of

IMAGES = torch.arange(4 * 3 * 2 * 2, dtype=torch.float32).reshape(4, 3, 2, 2)
LABELS = torch.tensor([3, 0, 2, 1])
NETWORK = nn.Linear(2, 2).double()


class Features(dict):
    """A mapping that is no plain dict, as image processors return."""


@pytest.mark.parametrize(
    "batches",
    [
        [(IMAGES, LABELS)],
        [[IMAGES.numpy(), LABELS.numpy()]],
        [(IMAGES, LABELS.tolist())],
        [(IMAGES, LABELS.to(torch.uint8), "names")],
        [{"image": IMAGES, "label": LABELS}],
        {"pixel_values": IMAGES, "labels": LABELS},
        [Features(pixel_values=IMAGES, label=LABELS.int())],
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, LABELS), batch_size=4),
    ],
    ids=lambda batches: type(batches).__name__,
)
def test_labels_come_in_every_form_of_data_loaders(batches):
    [(images, labels)] = labelled_inputs_of(batches, NETWORK)
    assert torch.equal(images, IMAGES.double())
    assert torch.equal(labels, LABELS)
    assert labels.dtype == torch.int64


def test_a_data_set_is_a_list_of_batches_of_one():
    found = list(labelled_inputs_of(torch.utils.data.TensorDataset(IMAGES, LABELS), NETWORK))
    assert torch.equal(torch.cat([images for images, _ in found]), IMAGES.double())
    assert torch.cat([labels for _, labels in found]).tolist() == LABELS.tolist()
    [(images, labels)] = labelled_inputs_of([(IMAGES[:1], 3)], NETWORK)
    assert images.shape == IMAGES[:1].shape
    assert labels.tolist() == [3]


def test_batches_are_iterated_over_once():
    class Counted(list):
        begun = 0

        def __iter__(self):
            Counted.begun += 1
            return super().__iter__()

    assert len(list(inputs_of(Counted([IMAGES]), NETWORK))) == Counted.begun == 1


def test_a_network_without_numbers_takes_images_as_they_are():
    [images] = inputs_of([IMAGES.half()], nn.ReLU())
    assert images.dtype == torch.float16


def test_bytes_stay_bytes():
    [(images, _)] = labelled_inputs_of([(IMAGES.to(torch.uint8), LABELS)], NETWORK)
    assert images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (IMAGES, "batch 1: has inputs without labels; give .*; got Tensor$"),
        ([IMAGES], "batch 1: has inputs without labels; .* got list$"),
        (
            {"image": IMAGES, "target": LABELS},
            "without labels; .* under 'labels' or 'label'; got a dict of",
        ),
        ((IMAGES, LABELS[:3]), r"batch 1: has labels of shape \(3,\) for inputs of shape \(4, 3, 2, 2\)"),
        ((IMAGES, LABELS[:, None]), r"labels of shape \(4, 1\) for .* the number of one class for each input"),
        ((IMAGES, nn.functional.one_hot(LABELS)), r"labels of shape \(4, 4\)"),
        ((IMAGES, LABELS.float()), "labels are numbers of classes, whole ones, got torch.float32"),
        ((IMAGES, LABELS == 1), "whole ones, got torch.bool"),
        ((IMAGES, ["cat", "dog", "cat", "cat"]), "its labels are no numbers but list; give the number of one class"),
        (("a.png", LABELS), "batch 1: expected a tensor of inputs, .* got tuple$"),
    ],
)
def test_a_batch_that_cannot_be_compared_is_refused(batch, match):
    batches = [batch] if not isinstance(batch, torch.Tensor) else batch
    with pytest.raises(ModelError, match=match):
        list(labelled_inputs_of(batches, NETWORK))


def test_the_number_of_a_bad_batch_is_told():
    with pytest.raises(ModelError, match="batch 2: has inputs without labels"):
        list(labelled_inputs_of([(IMAGES, LABELS), IMAGES], NETWORK))


@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_batches_is_refused():
    with pytest.raises(ModelError, match="such as a tensor, a list of tensors or a data loader, got NoneType"):
        list(inputs_of(None, NETWORK))


@pytest.mark.parametrize("batches", [[], iter(())])
def test_no_batches_are_refused(batches):
    with pytest.raises(ModelError, match="batches is empty, or a generator that was used before"):
        list(labelled_inputs_of(batches, NETWORK))


def test_arrays_of_any_kind_are_images():
    [images] = inputs_of(np.asfortranarray(IMAGES.numpy()), NETWORK)
    assert torch.equal(images, IMAGES.double())


SEEN = torch.randn(24, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def classifier():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


ON_BATCHES = {
    "check": lambda network, batches: sk.check(network, images=batches),
    "crop": lambda network, batches: sk.crop(network, batches, layers={"1": 3}),
    "diagnose": lambda network, batches: sk.diagnose(network, classifier(), batches),
    "evaluate": lambda network, batches: sk.evaluate(network, [(batches, torch.zeros(len(batches)).long())]),
    "fit_in_network": lambda network, batches: sk.fit_in_network(network, batches, "jet1"),
    "output_error": lambda network, batches: sk.networks.output_error(network, network, batches),
    "patch_covariance": sk.patch_covariance,
    "prune_dead": sk.prune_dead,
    "recalibrate": lambda network, batches: sk.recalibrate(network, batches, network),
    "receptive_field": sk.receptive_field,
    "sensitivity": sk.sensitivity,
    "separate": lambda network, batches: sk.separate(network, batches, rank=1),
}


@pytest.mark.parametrize("name", ON_BATCHES)
def test_inputs_that_a_network_does_not_take_are_one_sentence(name):
    with pytest.raises(ModelError, match=r"the network Sequential does not run .*RuntimeError: Given groups.*; give"):
        ON_BATCHES[name](classifier(), torch.zeros(24, 4, 9, 9))


@pytest.mark.parametrize("name", ON_BATCHES)
def test_a_network_without_values_is_one_sentence(name):
    with pytest.raises(sk.ScaleKeysError, match=r"has no values .it is on the meta device.; load its weights first"):
        ON_BATCHES[name](classifier().to("meta"), torch.zeros(24, 3, 9, 9))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "compute",
    [weight_norm, parametrizations.weight_norm, lambda layer: prune.l1_unstructured(layer, "weight", 0.3)],
    ids=["weight_norm", "parametrized", "pruned"],
)
@pytest.mark.parametrize("name", sorted({*ON_BATCHES} - {"prune_dead", "separate"}))
def test_a_weight_that_is_computed_is_one_like_others(name, compute):
    network, twin = classifier(), classifier()
    compute(network[1])
    twin[1].weight.data.copy_(network[1].weight.data)
    for one in (network, twin):
        one(SEEN)  # which batch norms notice
    assert_alike(*(ON_BATCHES[name](one, SEEN) for one in (network, twin)))


def assert_alike(found, expected):
    """Compare two results up to rounding: networks by their outputs, fits by their kernels."""
    if isinstance(expected, nn.Module):
        found, expected = (one(SEEN) for one in (found, expected))
    if isinstance(expected, Fit):
        found, expected = ([layer.kernels for layer in one.kernels()] for one in (found, expected))
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected)
        assert_alike(list(found.values()), list(expected.values()))
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif is_dataclass(expected):
        for field in fields(expected):
            assert_alike(getattr(found, field.name), getattr(expected, field.name))
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)
    else:
        assert found == expected
