"""The palette of the stylesheet: contrast on both grounds, and families that stay apart for colour-blind readers."""

import itertools
import re
from importlib import resources

import numpy as np
import pytest

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009,
# severity 1.0, linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Ottosson, "A perceptual color space for image processing", 2020.
TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def palettes():
    style = resources.files("scalekeys.report").joinpath("page/assets/colours.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]
    return {"light": found[0], "dark": found[1]}


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme):
    palette = palettes()[scheme]
    assert contrast(palette["text"], palette["page"]) > 12
    assert contrast(palette["muted"], palette["page"]) > 4.5
    assert contrast(palette["ink"], palette["page"]) > 4.5
    assert contrast(palette["text"], palette["raised"]) > 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_stand_out_from_the_page(scheme):
    palette = palettes()[scheme]
    for name in ("control", "positive", "negative", "along-x", "along-y"):
        assert contrast(palette[name], palette["page"]) > 3, name
    for place in range(1, 9):
        assert contrast(palette[f"family-{place}"], palette["page"]) > 2, place


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_the_eight_families_stay_apart(scheme, vision):
    palette = palettes()[scheme]
    seen = [
        np.array(TO_LAB) @ np.cbrt(np.array(TO_LMS) @ np.clip(np.array(VISION[vision]) @ linear(palette[name]), 0, 1))
        for name in (f"family-{place}" for place in range(1, 9))
    ]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.09


def test_both_schemes_name_the_same_colours():
    light, dark = palettes().values()
    assert light.keys() == dark.keys()
