"""Covariances of patches: those of natural images, and shrinkage of those of a layer."""

import itertools

import numpy as np
import pytest
import torch

from scalekeys.errors import FilterError, ModelError
from scalekeys.fitting.patch_covariance import PatchCovariance, natural_image_covariance, shrunk
from tolerances import assert_close


def cosine_sum(rows, cols, dilation, extent, exponent):
    """The definition, frequency by frequency and pair by pair."""
    frequencies = [(u, v) for u in range(extent) for v in range(extent) if (u, v) != (0, 0)]
    folded = [(min(u, extent - u), min(v, extent - v)) for u, v in frequencies]
    power = np.array([(u**2 + v**2) ** (-exponent / 2) for u, v in folded])
    taps = [(dilation * row, dilation * col) for row in range(rows) for col in range(cols)]
    table = np.empty((len(taps), len(taps)))
    for (i, (r, c)), (j, (s, d)) in itertools.product(enumerate(taps), repeat=2):
        angles = np.array([2 * np.pi * (u * (r - s) + v * (c - d)) / extent for u, v in frequencies])
        table[i, j] = (power * np.cos(angles)).sum() / power.sum()
    return table


@pytest.mark.parametrize(("size", "dilation"), [((3, 3), 1), ((2, 4), 1), ((1, 3), 2), ((1, 1), 1)], ids=str)
@pytest.mark.parametrize(("extent", "exponent"), [(8, 2.0), (9, 1.0), (8, 3.5), (11, 0.0)])
def test_it_is_the_sum_of_cosines(size, dilation, extent, exponent):
    covariance = natural_image_covariance(size, dilation=dilation, extent=extent, exponent=exponent)
    assert_close(covariance, cosine_sum(*size, dilation, extent, exponent), absolute=1e-13)


def test_it_tells_the_variance_of_every_filter_on_an_image_with_that_spectrum():
    generator = torch.Generator().manual_seed(0)
    extent, frequency = 48, torch.fft.fftfreq(48, dtype=torch.float64)
    amplitude = (frequency[:, None] ** 2 + frequency**2) ** -0.5
    amplitude[0, 0] = 0
    noise = torch.fft.fft2(torch.randn(extent, extent, generator=generator, dtype=torch.float64))
    image = torch.fft.ifft2(amplitude * noise / noise.abs()).real
    filters = torch.randn(20, 3, 5, generator=generator, dtype=torch.float64)
    around = torch.nn.functional.pad((image / image.std(correction=0))[None, None], (2, 2, 1, 1), mode="circular")
    responses = torch.nn.functional.conv2d(around, filters[:, None])
    covariance = natural_image_covariance((3, 5), extent=extent)
    predicted = torch.einsum("ci,ij,cj->c", filters.flatten(1), covariance, filters.flatten(1))
    assert_close(responses.square().mean((0, 2, 3)), predicted, absolute=1e-11)


@pytest.mark.parametrize("size", [3, 7, (3, 5), (1, 9), 31], ids=str)
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 4.0])
def test_it_is_positive_with_unit_variances(size, exponent):
    covariance = natural_image_covariance(size, exponent=exponent)
    assert torch.equal(covariance, covariance.mT)
    assert (covariance.diagonal() == 1).all()
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12


def test_it_depends_on_the_distance_only():
    covariance = natural_image_covariance((4, 5)).reshape(4, 5, 4, 5)
    assert torch.equal(covariance[1:, 1:, 1:, 1:], covariance[:-1, :-1, :-1, :-1])
    assert torch.equal(covariance, covariance.flip(0, 2))
    assert torch.equal(covariance, covariance.flip(1, 3))
    square = natural_image_covariance(4).reshape(4, 4, 4, 4)
    assert_close(square, square.permute(1, 0, 3, 2))


def test_neighbours_are_alike_and_less_so_with_distance():
    row = natural_image_covariance((1, 9))[0]
    assert (row.diff() < 0).all()
    assert row.min() > 0


def test_dilated_taps_are_taps_of_a_larger_kernel():
    wide = natural_image_covariance((7, 7)).reshape(7, 7, 7, 7)[::3, ::3, ::3, ::3]
    assert torch.equal(natural_image_covariance(3, dilation=3), wide.reshape(9, 9))


def test_white_noise_has_independent_taps_but_for_its_mean():
    covariance = natural_image_covariance(3, extent=10, exponent=0.0)
    assert_close(covariance, (100 * np.eye(9) - 1) / 99)


def test_the_default_extent_is_that_of_network_inputs_and_grows_with_the_kernel():
    assert torch.equal(natural_image_covariance(7), natural_image_covariance(7, extent=224))
    assert torch.equal(natural_image_covariance(3, dilation=200), natural_image_covariance(3, dilation=200, extent=800))


@pytest.mark.parametrize(
    ("size", "options", "match"),
    [
        (0, {}, "size and dilation must be at least 1, got size 0x0 and dilation 1"),
        ((3, -1), {}, "got size 3x-1 and dilation 1"),
        (3, {"dilation": 0}, "got size 3x3 and dilation 0"),
        (7, {"extent": 11}, "extent must be at least 12, twice the reach of a kernel of 7x7 with dilation 1, got 11"),
        ((1, 3), {"dilation": 4, "extent": 15}, "extent must be at least 16, .* of 1x3 with dilation 4, got 15"),
        (1, {"extent": 1}, "extent must be at least 2"),
        (3, {"exponent": -1.0}, "exponent must be finite and at least 0, got -1.0"),
        (3, {"exponent": float("nan")}, "exponent must be finite and at least 0, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(size, options, match):
    with pytest.raises(ModelError, match=match):
        natural_image_covariance(size, **options)


def layer_of(channels, taps=(3, 3), seed=0):
    """Covariances of a layer: each a mixture of natural and white structure, of its own strength."""
    generator = torch.Generator().manual_seed(seed)
    share, strength = torch.rand(2, channels, 1, 1, generator=generator, dtype=torch.float64)
    natural, white = (natural_image_covariance(taps, exponent=exponent) for exponent in (2.0, 0.0))
    return 10 ** (4 * strength - 2) * (share * natural + (1 - share) * white)


def sampled(covariance, samples, seed=0):
    """Sample covariances of independent normal patches."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(covariance), samples, covariance.shape[-1])
    patches = torch.randn(shape, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    centred = patches - patches.mean(1, keepdim=True)
    return centred.mT @ centred / samples


def variances(covariance):
    return covariance.diagonal(dim1=-2, dim2=-1).mean(-1)


def error(covariance, truth):
    """Mean distance apart from the strength, which no fit of a filter depends on."""
    one, other = (values / variances(values)[:, None, None] for values in (covariance, truth))
    return torch.linalg.matrix_norm(one - other).mean()


@pytest.mark.parametrize("samples", [2, 5, 20, 1000])
def test_the_result_is_positive_definite_with_the_variance_of_the_sample(samples):
    sample = sampled(layer_of(6), samples)
    covariance, intensity = shrunk(sample, samples)
    assert torch.equal(covariance, covariance.mT)
    assert (torch.linalg.eigvalsh(covariance)[:, 0] > 1e-4 * variances(sample)).all()
    assert_close(variances(covariance), variances(sample))
    assert ((intensity > 0) & (intensity <= 1)).all()


def overlapping(channels, images, *, taps, side=16, seed=0):
    """True and sample covariances of the overlapping patches of periodic maps, between natural ones and noise."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.linspace(0.5, 0.8, channels, dtype=torch.float64)[:, None, None]
    kinds = [natural_image_covariance(side, extent=2 * side, exponent=exponent) for exponent in (3.0, 0.0)]
    field = share * kinds[0] + (1 - share) * kinds[1]
    noise = torch.randn(channels, images, side**2, generator=generator, dtype=torch.float64)
    maps = (noise @ torch.linalg.cholesky(field).mT).reshape(channels * images, 1, side, side)
    patches = torch.nn.functional.unfold(maps, taps).unflatten(0, (channels, images)).transpose(1, 2).flatten(2)
    truth = field.reshape(channels, side, side, side, side)[:, :taps, :taps, :taps, :taps].reshape(
        channels, taps**2, -1
    )
    centred = patches - patches.mean(-1, keepdim=True)
    return truth, centred @ centred.mT / patches.shape[-1], patches.shape[-1]


@pytest.mark.parametrize("images", [1, 4, 16])
@pytest.mark.parametrize("taps", [3, 7])
def test_it_is_closer_to_the_truth_than_the_sample_of_overlapping_patches_is(taps, images):
    ratios = []
    for seed in range(8):
        truth, sample, samples = overlapping(8, images, taps=taps, seed=seed)
        ratios.append(float(error(shrunk(sample, samples)[0], truth) / error(sample, truth)))
    assert np.mean(ratios) < 0.96


def test_many_samples_leave_the_covariance_alone():
    truth = layer_of(5)
    few, many = shrunk(truth, 10**2), shrunk(truth, 10**7)
    assert (many[1] < few[1]).all()
    assert error(many[0], truth) < 1e-3


def test_the_intensity_is_the_formula_with_the_samples_that_count():
    sample = sampled(layer_of(3), 500)
    unit = (sample / variances(sample)[:, None, None]).numpy()
    effective = [500 / np.sqrt(np.trace(one @ one) / 9) for one in unit]

    def optimal(one, target, count):
        scatter = np.trace(one @ one) + np.trace(one) ** 2 - 2 / 9 * np.trace(one @ target @ one)
        return min(1, scatter / count / np.linalg.norm(one - target) ** 2)

    pooled = unit.mean(0)
    share = optimal(pooled, np.eye(9), sum(effective))
    target = (1 - share) * pooled + share * np.eye(9)
    expected = [optimal(one, target, count) for one, count in zip(unit, effective, strict=True)]
    assert min(expected) < 0.5
    assert_close(shrunk(sample, 500)[1], np.array(expected))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_units_of_the_activations_do_not_matter(unit):
    sample = sampled(layer_of(4), 50)
    (one, intensity), (other, same) = shrunk(sample, 50), shrunk(unit * sample, 50)
    assert_close(other / unit, one, absolute=1e-12)
    assert_close(same, intensity)


def test_the_order_of_the_channels_does_not_matter():
    sample, order = sampled(layer_of(4), 50), [2, 0, 3, 1]
    assert_close(shrunk(sample[order], 50)[0], shrunk(sample, 50)[0][order], absolute=1e-12)


def test_a_dead_channel_gets_the_pooled_structure_and_leaves_the_others_alone():
    sample = sampled(layer_of(4), 50)
    dead = sample.clone()
    dead[1] = 0
    (covariance, intensity), (others, known) = shrunk(dead, 50), shrunk(sample[[0, 2, 3]], 50)
    assert_close(covariance[[0, 2, 3]], others)
    assert_close(intensity[[0, 2, 3]], known)
    assert intensity[1] == 1
    assert_close(variances(covariance)[1], np.array(1.0))
    assert torch.linalg.eigvalsh(covariance[1])[0] > 1e-2
    pooled = (others / variances(others)[:, None, None]).mean(0)
    assert (covariance[1] - pooled).abs().max() < 0.1


def test_a_layer_of_dead_channels_gets_the_identity():
    covariance, intensity = shrunk(torch.zeros(2, 9, 9, dtype=torch.float64), 1)
    assert torch.equal(covariance, torch.eye(9, dtype=torch.float64).expand(2, 9, 9))
    assert intensity.tolist() == [1, 1]


def test_a_single_channel_is_shrunk_to_the_identity():
    sample = sampled(layer_of(1), 5)
    covariance, _ = shrunk(sample, 5)
    assert torch.linalg.eigvalsh(covariance)[0, 0] > 1e-2 * variances(sample)[0]
    towards = (sample - covariance) * (1 - torch.eye(9, dtype=torch.float64))
    assert (towards * sample).min() >= -1e-18


def test_one_tap_is_left_as_it_is():
    covariance, _ = shrunk(torch.tensor([2.0, 3.0], dtype=torch.float64)[:, None, None], 10)
    assert covariance.flatten().tolist() == [2, 3]


def test_a_channel_of_flat_patches_is_made_definite():
    flat = torch.ones(3, 9, 9, dtype=torch.float64)
    assert torch.linalg.eigvalsh(shrunk(flat, 10**6)[0]).min() > 1e-9


@pytest.mark.parametrize(
    ("covariance", "samples", "error", "match"),
    [
        (torch.zeros(2, 9, 9), 0, ModelError, "samples must be at least 1, got 0"),
        (torch.full((2, 9, 9), torch.nan), 5, FilterError, "the covariance must be finite everywhere"),
        (torch.zeros(9, 9), 5, FilterError, r"must have shape \(channels, taps, taps\), got \(9, 9\)"),
        (torch.zeros(2, 9, 3), 5, FilterError, r"must have shape \(channels, taps, taps\), got \(2, 9, 3\)"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_covariances_that_are_none_are_refused(covariance, samples, error, match):
    with pytest.raises(error, match=match):
        shrunk(covariance, samples)


def seen(**channels):
    layers = {name: torch.eye(9, dtype=torch.float64).expand(count, 9, 9) for name, count in channels.items()}
    means = {name: torch.arange(9.0, dtype=torch.float64).expand(count, 9) for name, count in channels.items()}
    shrinkage = {name: torch.full((count,), 0.25, dtype=torch.float64) for name, count in channels.items()}
    return PatchCovariance(layers, means, {name: 100 * count for name, count in channels.items()}, shrinkage, ("aux",))


def test_its_representation_says_what_is_in_it():
    assert repr(seen(stem=1, head=4)) == (
        "PatchCovariance(5 channels in 2 layers, 100 to 400 patches each, mean shrinkage 0.250, not seen: aux)"
    )
    assert repr(PatchCovariance({}, {}, {}, {})) == "PatchCovariance(0 channels in 0 layers)"


def test_second_moments_are_about_zero_and_the_covariances_stay():
    covariances = seen(stem=2)
    moments = covariances.second_moments()
    assert_close(moments.layers["stem"][1], np.eye(9) + np.outer(np.arange(9), np.arange(9)))
    assert (moments.samples, moments.unseen) == (covariances.samples, ("aux",))
    assert torch.equal(covariances.layers["stem"][0], torch.eye(9, dtype=torch.float64))


@pytest.mark.usefixtures("without_shape_checks")
def test_a_layer_without_matrices_is_refused_by_its_name():
    with pytest.raises(
        FilterError, match=r"layer 'stem': covariances must have shape \(channels, taps, taps\), got \(9,"
    ):
        PatchCovariance({"stem": torch.zeros(9, 9)}, {}, {}, {})
