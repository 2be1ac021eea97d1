"""Every audit on filters with what it looks for planted in them, and on filters in which nothing is wrong."""

from dataclasses import replace

import pytest
import torch
from planted import bank, polynomials, smooth, white

import scalekeys as sk
from scalekeys.checkup.api import examined
from scalekeys.checkup.audits import AUDITS
from scalekeys.checkup.evidence import Evidence
from scalekeys.checkup.naming import Named
from scalekeys.filters import FilterBank
from scalekeys.filters.reach import predicted_reach
from scalekeys.filters.window import padded
from scalekeys.scalespace import template

NO_NORMS = "the audit small-variances needs the network or a file of it"
NO_PITCH = (
    "the audit reach needs the strides of the network, which weights alone do not tell: give the network itself, or an "
    "ONNX or TFLite file of it"
)


def advice_of(*layers, audit):
    """Return the advice of one audit on a bank; None if it has none."""
    return AUDITS[audit](Evidence(Named(), sk.fit(bank(*layers))))


def names(*layers):
    return [one.name for one in sk.check(bank(*layers)).advice]


@pytest.mark.parametrize("sides", [(5, 5), (7,), (3, 3, 3)], ids=str)
def test_nothing_is_found_where_nothing_is_wrong(sides):
    found = sk.check(bank(smooth(sides=sides), smooth(sides=sides, seed=1)))
    assert [advice.what for advice in found.advice] == []
    assert (found.layers, found.filters, found.skipped) == (2, 64, (NO_NORMS, NO_PITCH))


def test_dead_filters():
    kernels = smooth()
    kernels[:8] = 0
    kernels[8] *= 1e-6
    found = advice_of(smooth(seed=1), kernels, audit="dead-filters")
    assert found.what.startswith("9 of 64 filters are dead")
    assert (found.certainty, found.share) == ("certain", 9 / 64)
    (place,) = found.places
    assert (place.layer, place.size, place.filters, place.of, place.value) == ("b", "5x5", 9, 32, 9 / 32)
    assert found.command == "scalekeys prune NETWORK --size PIXELS -o pruned.pth"
    assert "in 1 of 2 layers" in found.evidence


@pytest.mark.parametrize(("dead", "option"), [(3, " --multiple-of 1"), (8, "")])
def test_the_command_removes_filters_also_where_few_of_a_wide_layer_are_dead(dead, option):
    kernels = smooth()
    kernels[:dead] = 0
    found = advice_of(kernels, audit="dead-filters")
    assert found.command == f"scalekeys prune NETWORK --size PIXELS{option} -o pruned.pth"
    assert ("for its width to stay a multiple of 8" in found.expect) == (dead < 8)


def test_filters_that_are_not_finite():
    kernels = smooth()
    kernels[3, 0, 0], kernels[5, 1, 1] = torch.nan, torch.inf
    found = advice_of(kernels, audit="not-finite")
    assert found.what == "2 filters of 32 hold values that are not finite: a."
    assert names(kernels) == ["not-finite"]


def test_a_layer_that_is_noise():
    found = advice_of(smooth(), white(), audit="not-formed")
    assert found.what == "In 1 of 2 layers the kernels are like noise: b."
    (place,) = found.places
    assert abs(place.value) < 0.3
    assert (place.control, found.share, found.certainty) == (0.0, 0.5, "hint")


def test_kernels_with_an_outer_ring_of_next_to_nothing():
    kernels = padded(smooth(), (9, 9))
    kernels += 1e-3 * white(sides=(9, 9))
    few = padded(smooth(4), (9, 9))  # too few to be judged, but the command crops them
    found = advice_of(kernels, smooth(seed=1), few, audit="too-large")
    assert found.what == "In 1 layer the outer taps of the kernels hold next to nothing: a (9x9, 5x5 is enough)."
    assert found.command == "scalekeys crop NETWORK -o cropped.pth"
    (place,) = found.places
    assert place.control == pytest.approx(1 - 25 / 81)
    assert 0 < place.value < 1e-3
    saved = 100 * 36 * (81 - 25) / (36 * 81 + 32 * 25)
    assert found.expect.startswith(
        "The command crops 2 layers, 1 of them with fewer than 8 live filters, which saves "
        f"{saved:.1f} % of the depthwise weights."
    )
    without = AUDITS["too-large"](Evidence(Named(), sk.fit(bank(kernels)), norms=()))
    assert without.expect.startswith("The command crops 1 layer, which saves ")
    assert ("batch-norm" in found.action, without.action) == (True, "Crop these kernels.")


@pytest.mark.parametrize(("share", "is_found"), [(0.018, True), (0.022, False)])
def test_an_outer_ring_at_the_threshold(share, is_found):
    ring = torch.ones(32, 7, 7)
    ring[:, 1:-1, 1:-1] = 0
    inner = padded(smooth(), (7, 7))
    scale = (share / (1 - share) * inner.square().sum() / ring.square().sum()).sqrt()
    assert (advice_of(inner + scale * ring, audit="too-large") is not None) is is_found


def test_kernels_that_show_no_end_of_a_field():
    found = advice_of(polynomials(), smooth(), audit="too-small")
    assert found.what == "In 1 layer many filters are wider than their kernels: a."
    (place,) = found.places
    assert place.value > 0.5 > 0.3 > place.control


def test_copies_up_to_a_factor_and_an_offset():
    kernels = smooth()
    kernels[16:] = -2.5 * kernels[:16] + 0.3
    few = smooth(5)
    few[2:4] = few[:2]  # too few to be judged, but the command replaces them, and a constant by one number
    few[4] = 0.5
    found = advice_of(kernels, smooth(seed=1), few, audit="redundant")
    assert found.what.startswith("16 filters of 1 layer are copies")
    assert found.places[0].value == 0.5
    assert "of matched noise 0 filters would" in found.evidence
    assert found.command == "scalekeys replace NETWORK -o copies.pth --model copies"
    taps = kernels[0].numel()
    saved = f"{100 * (18 * (taps - 3) + taps - 1) / (69 * taps):.1f} % of the depthwise weights"
    assert found.expect.startswith(
        "The command replaces 19 filters, also constant ones and copies in layers with few, which "
    )
    assert saved in found.expect
    assert found.places[0].channels == tuple(range(16, 32))


def test_copies_in_a_small_part_of_a_network_are_not_worth_a_word():
    kernels = smooth(16)
    kernels[8:] = kernels[:8]
    assert advice_of(kernels, audit="redundant").share == 0.5
    assert advice_of(kernels, *(smooth(seed=seed) for seed in (1, 2, 3)), audit="redundant") is None


def test_filters_that_are_only_alike_are_no_copies():
    kernels = smooth()
    kernels[16:] = kernels[:16] + 0.05 * white(16)  # most correlate by 0.93 to 0.98
    assert advice_of(kernels, audit="redundant") is None


def test_separable_kernels():
    column, row = white(32, (9, 1)), white(32, (1, 9), seed=1)
    found = advice_of(column * row, audit="separable")
    assert found.what == "In 1 layer the kernels are nearly separable: a."
    assert found.evidence.startswith("1 outer product holds 99 % of the energy of a layer.")
    assert found.command.startswith("scalekeys separate NETWORK ")
    (place,) = found.places
    assert place.value == pytest.approx(1)
    assert place.control < 0.6
    assert advice_of((column * row)[:, 2:7, 2:7], audit="separable") is None


def test_two_outer_products():
    kernels = sum(white(32, (9, 1), seed=seed) * white(32, (1, 9), seed=seed + 9) for seed in range(2))
    assert advice_of(kernels, audit="separable").evidence.startswith("2 outer products hold 99 %")


@pytest.mark.parametrize(("factor", "lost"), [(1e-8, 32), (1.0, 0), (1e6, 32)])
def test_half_precision(factor, lost):
    found = advice_of(factor * smooth(), audit="half-precision")
    assert (found.places[0].filters if found else 0) == lost


def test_numbers_below_the_smallest_normal_one_may_do():
    assert advice_of(3e-5 * smooth(), audit="half-precision") is None


def test_eight_bits():
    kernels = smooth()
    kernels[:3] /= 1000
    found = advice_of(kernels, smooth(seed=1), audit="eight-bits")
    assert found.what == "3 live filters become zero in eight-bit integers with one quantisation step a layer: a."
    kernels[:3] *= 10
    assert advice_of(kernels, audit="eight-bits") is None


def test_filters_that_lean_to_one_side():
    leaning = torch.zeros(64, 5, 5)
    leaning[:, 2, 3], leaning[:, 2, 2] = 1.0, -1.0
    leaning += 0.1 * white(64)
    found = advice_of(leaning, audit="lopsided")
    assert "64 of 64 one-sided differences along x are of the family dx-" in found.what
    (place,) = found.places
    assert (place.layer, place.filters, place.of, place.value) == ("a", 64, 64, 1.0)
    assert (found.share, place.channels) == (1.0, tuple(range(64)))
    assert "dx+" in advice_of(leaning.flip(-1), audit="lopsided").what
    leaning[::2] = leaning[::2].flip(-1)
    found = advice_of(leaning, audit="lopsided")
    assert found is None or "family" not in found.what


def test_scales_that_are_wider_along_one_axis():
    place = torch.arange(-2.0, 3.0)
    row, column = (torch.exp(-(place**2) / (2 * wide**2)) for wide in (1.3, 0.7))
    kernels = (column[:, None] * row).expand(128, 5, 5) + 0.03 * white(128)
    found = advice_of(kernels, audit="lopsided")
    assert "are wider along x" in found.what
    assert found.places[0].value > 0.9
    turned = advice_of(kernels.mT, audit="lopsided")
    assert "are wider along y" in turned.what


def test_two_preferred_sides_are_counted_each_by_itself():
    wide, narrow = template("dx+", torch.tensor([[1.4, 0.7], [0.7, 1.4]]), 7)
    kernels = torch.stack([wide, wide, wide.flip(-1), narrow]).repeat(32, 1, 1) + 0.001 * white(128, (7, 7))
    found = advice_of(kernels, audit="lopsided")
    assert "96 of 128 one-sided differences along x are of the family dx+; 96 of 128 are wider along x" in found.what
    (place,) = found.places
    assert (place.filters, place.value) == (128, 0.75)
    assert found.evidence.endswith("76 % and 71 %.")
    assert place.control == pytest.approx(0.735, abs=0.02)


@pytest.mark.parametrize(
    "kernels",
    [torch.zeros(16, 5, 5), torch.ones(16, 5, 5), torch.full((16, 5, 5), torch.nan), smooth(4), white(16, (3,))],
    ids=["zero", "constant", "nan", "four filters", "three taps"],
)
def test_layers_that_cannot_be_judged_do_not_stop_the_others(kernels):
    found = sk.check(bank(smooth(), kernels))
    assert {one.name for one in found.advice} <= {"dead-filters", "not-finite", "too-large", "redundant"}
    assert found.layers == 2


def test_what_could_not_be_judged_is_told():
    assert sk.check(bank(smooth(), smooth(4))).skipped == (
        "1 layer with fewer than 8 live filters can show dead filters only",
        NO_NORMS,
        NO_PITCH,
    )


def strided(*pitches, sides=(5, 5)):
    """Return the fit of layers of smooth kernels with these pitches along all axes."""
    layers = bank(*(smooth(8, sides=sides, seed=index) for index in range(len(pitches)))).layers
    pitched = (replace(one, pitch=(step,) * len(sides)) for one, step in zip(layers, pitches, strict=True))
    return sk.fit(FilterBank(tuple(pitched)))


def reach_of(fit, *sides):
    """Return what the audit of the reach says where the inputs have these sides."""
    return AUDITS["reach"](Evidence(Named(), fit, sides=sides))


@pytest.mark.parametrize("sides", [(5, 5), (7,), (3, 3, 3)], ids=str)
def test_a_field_far_smaller_or_larger_than_the_inputs(sides):
    fit = strided(1.0, 2.0, 8.0, sides=sides)
    width = [4 * sigma for sigma in predicted_reach(fit.bank)[-1].sigma]
    small, large = int(2 * max(width)) + 1, int(min(width))
    assert reach_of(fit, small - 2) is None
    assert reach_of(fit, int(max(width)) + 1) is None
    wide = " x ".join(f"{one:.0f}" for one in width)
    for size, what in ((small, "less than half of the inputs"), (large, "larger than the inputs")):
        found = reach_of(fit, size)
        assert f"is {wide} pixels wide, {what} ({'x'.join([str(size)] * len(sides))})" in found.what
        assert (found.name, found.certainty, found.places[0].layer) == ("reach", "hint", "c")
        assert "matched noise" in found.evidence
    assert found.places[0].value == pytest.approx(64 / 69, abs=0.05)
    assert found.places[0].control == pytest.approx(64 / 69, abs=0.05)
    assert found.share == len(found.places) / 3


def test_a_field_is_not_compared_with_inputs_that_are_long_one_way():
    fit = strided(1.0, 2.0)
    width = max(4 * sigma for sigma in predicted_reach(fit.bank)[-1].sigma)
    assert reach_of(fit, int(width / 2), int(3 * width)) is None


def test_the_reach_of_a_network_needs_its_inputs_and_its_strides():
    fit = strided(1.0)
    found = examined(Evidence(Named(), fit))
    assert found.skipped == (NO_NORMS, "the audit reach needs the size of the inputs (--size)")
    assert "reach" not in found.audits
    assert "reach" in sk.check(fit.bank, size=12).audits
    assert sk.check(bank(smooth(8)), size=24).skipped == (NO_NORMS, NO_PITCH)
    with pytest.raises(sk.FilterError, match="must be one number of at least 1, or 2 of them; got 8x8x8"):
        reach_of(fit, 8, 8, 8)
