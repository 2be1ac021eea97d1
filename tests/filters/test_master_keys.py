"""The eight published filters: the numbers themselves, and that each is the right way up."""

import csv

import numpy as np
import torch

from scalekeys.filters import MASTER_KEY_FAMILIES, master_keys
from scalekeys.scalespace import IDEAL8, template

# Common scales of the published l2 fits (Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026); for filter 7 its sigma.
PUBLISHED_SIGMA = (0.644021, 0.558002, 0.495151, 0.379621, 1.193435, 1.038262, 0.6754, 0.611854)
PUBLISHED_ALPHA = 0.5256


def test_they_are_the_published_numbers(shared):
    expected = np.full((8, 7, 7), np.nan)
    with (shared / "method" / "master_key_filters.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for x in range(-3, 4):
                expected[int(row["filter"]) - 1, 3 - int(row["y"]), x + 3] = float(row[f"x{x}"])
    assert np.array_equal(master_keys().numpy(), expected)


def test_they_have_unit_norm_and_zero_mean_up_to_the_rounding_of_six_decimals():
    keys = master_keys()
    assert (keys.shape, keys.dtype) == ((8, 7, 7), torch.float64)
    assert (torch.linalg.vector_norm(keys, dim=(-2, -1)) - 1).abs().max() < 5e-6
    assert keys.mean((-2, -1)).abs().max() < 5e-7


def test_the_strongest_pixel_of_an_uncentred_key_lies_on_the_side_of_its_family():
    steps = {(1, 0): "below", (0, 1): "right", (-1, 0): "above", (0, -1): "left"}
    strongest = master_keys()[:4].abs().flatten(1).argmax(1).tolist()
    assert [steps[index // 7 - 3, index % 7 - 3] for index in strongest] == ["below", "right", "above", "left"]


def test_each_resembles_its_own_family_most_with_y_pointing_up():
    keys = master_keys()
    resemblance = torch.empty(8, 8)
    for column, (name, sigma) in enumerate(zip(IDEAL8, PUBLISHED_SIGMA, strict=True)):
        options = {"alpha": PUBLISHED_ALPHA} if name == "sharpen" else {}
        kernel = template(name, torch.tensor([sigma, sigma], dtype=torch.float64), **options)
        kernel = kernel - kernel.mean()
        resemblance[:, column] = (keys * kernel).sum((-2, -1)) / kernel.norm()
    assert resemblance.abs().argmax(1).tolist() == list(range(8))
    own = resemblance.diagonal()
    assert own.sign().tolist() == [1, -1, -1, 1, 1, 1, 1, 1]  # the amplitude of a model absorbs it
    assert (own.abs() > 0.8).all()


def test_their_families_are_the_ideal_ones_in_order():
    assert MASTER_KEY_FAMILIES == IDEAL8


def test_a_copy_may_be_changed_without_changing_the_next_one():
    master_keys().zero_()
    assert master_keys().abs().sum() > 0


def test_they_stay_real_after_a_call_among_meta_tensors():
    with torch.device("meta"):
        assert master_keys().is_meta
    assert master_keys().device.type == "cpu"
