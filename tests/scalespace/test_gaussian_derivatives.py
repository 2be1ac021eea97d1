"""Gaussian derivatives in every discretization against scipy, quadrature and closed forms, and their normalization."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, ndimage, special, stats

from scalekeys.errors import ModelError
from scalekeys.scalespace import (
    DISCRETIZATIONS,
    continuous_norm,
    derivative_kernel,
    directional_derivative,
    gaussian_derivative,
    n_jet,
    scale_normalization,
)
from tolerances import assert_close

RADIUS = 6
ORDERS = range(5)
TAPS = np.arange(-RADIUS - 4, RADIUS + 5)
SCALES = (0.3, 1.0, 2.5)

discretizations = pytest.mark.parametrize("name", DISCRETIZATIONS)


def double(*values):
    return torch.tensor(values, dtype=torch.float64).squeeze()


def continuous(x, t, order):
    """Return a derivative of the Gaussian by the Hermite polynomials of scipy."""
    sigma = math.sqrt(t)
    return (-1 / sigma) ** order * special.eval_hermitenorm(order, x / sigma) * stats.norm.pdf(x, scale=sigma)


def differences(kernel, order):
    for _ in range(order // 2):
        kernel = np.convolve(kernel, [1, -2, 1], "same")
    return np.convolve(kernel, [0.5, 0, -0.5], "same") if order % 2 else kernel


def expected(name, t, order):
    wide = continuous(np.arange(-60, 61), t, 0).sum()
    pixels = [integrate.quad(continuous, n - 0.5, n + 0.5, (t, 0), epsabs=1e-15)[0] for n in TAPS]
    sides = continuous(TAPS + 0.5, t, order - 1) - continuous(TAPS - 0.5, t, order - 1) if order else np.array(pixels)
    whole = {
        "discrete": differences(special.ive(np.abs(TAPS), t), order),
        "sampled": continuous(TAPS, t, order),
        "normalized-sampled": continuous(TAPS, t, order) / wide,
        "integrated": sides,
        "hybrid-sampled": differences(continuous(TAPS, t, 0) / wide, order),
        "hybrid-integrated": differences(np.array(pixels), order),
    }
    return whole[name][4:-4]


@discretizations
@pytest.mark.parametrize("t", SCALES)
def test_every_order_is_that_of_scipy(name, t):
    for order in ORDERS:
        found = gaussian_derivative(double(t), order, RADIUS, name)
        np.testing.assert_allclose(found, expected(name, t, order), rtol=0, atol=1e-12 * max(1, 1 / t**order))


@pytest.mark.parametrize("name", ["discrete", "hybrid-sampled", "hybrid-integrated"])
def test_differences_answer_to_monomials_as_derivatives_do(name):
    taps = np.arange(-40.0, 41)
    for order in ORDERS:
        kernel = gaussian_derivative(double(1.3), order, 40, name).numpy()
        for power in range(order + 1):
            assert math.isclose(
                kernel @ (-taps.astype(float)) ** power, math.factorial(order) * (power == order), abs_tol=1e-9
            )


def test_only_the_discrete_analogue_is_a_semigroup():
    """Smoothing of a derivative is the derivative at the sum of the variances."""
    for name in DISCRETIZATIONS:
        first, second = (gaussian_derivative(double(t), m, 40, name).numpy() for t, m in ((0.4, 0), (0.6, 1)))
        error = np.abs(np.convolve(first, second, "same") - gaussian_derivative(double(1.0), 1, 40, name).numpy()).max()
        assert (error < 1e-14) == (name == "discrete")


@discretizations
def test_its_derivative_in_scale_is_exact(name):
    t = double(0.2, 0.7, 3.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: gaussian_derivative(t, 2, 3, name), (t,))


def test_partial_derivatives_are_outer_products_with_y_upwards():
    t = double(0.5, 1.5)
    x, y = (gaussian_derivative(t[a], m, 2, "sampled") for a, m in ((0, 1), (1, 2)))
    assert_close(derivative_kernel(t, (1, 2), 2, "sampled"), y.flip(0)[:, None] * x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((double(1.0), 1, 2, "nearest"), "discretization must be one of 'discrete', .*, got 'nearest'"),
        ((double(1.0), -1, 2), "the order of a derivative must be at least 0, got -1"),
        ((double(1.0), 1, -2), "radius must be at least 0"),
        ((double(-1.0), 1, 2), "t is a variance"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        gaussian_derivative(*arguments)


@pytest.mark.parametrize(("order", "p"), [(1, 1.0), (2, 1.0), (3, 1.0), (2, 2.0)])
def test_the_norm_is_that_of_a_fine_sum(order, p):
    x = np.linspace(-60, 60, 400_001)
    for t in SCALES:
        whole = np.trapezoid(np.abs(continuous(x, t, order)) ** p, x) ** (1 / p)
        assert math.isclose(continuous_norm(double(t), order, p), whole, rel_tol=1e-7)


def test_the_norm_of_the_first_derivative_has_a_closed_form():
    for t, p in ((0.3, 0.5), (2.5, 0.8), (1.0, 3.0)):
        power = (2 * math.pi) ** (-p / 2) * t ** (-1.5 * p) * (2 * t / p) ** ((p + 1) / 2) * math.gamma((p + 1) / 2)
        assert math.isclose(continuous_norm(double(t), 1, p), power ** (1 / p), rel_tol=1e-12)


@pytest.mark.parametrize("p", [100.0, 1e5])
def test_norms_of_a_large_p_come_near_the_maximum(p):
    """The closed form for the first derivative, in logarithms, and the discrete kernel beside its own maximum."""
    power = -p / 2 * math.log(2 * math.pi) + (p + 1) / 2 * math.log(2 / p) + math.lgamma((p + 1) / 2)
    assert math.isclose(continuous_norm(double(1.0), 1, p), math.exp(power / p), rel_tol=1e-12)
    for dtype in (torch.float32, torch.float64):
        t = torch.tensor(4.0, dtype=dtype)
        factor = scale_normalization(t, 1, method="lp", p=p)
        norm = float(factor * gaussian_derivative(t, 1, 30).abs().max())
        assert math.isclose(norm, 2 * continuous_norm(t, 1, p), rel_tol=2 / p)


@discretizations
def test_lp_normalized_kernels_have_the_norm_of_the_continuous_derivative(name):
    t = double(*SCALES)
    for gamma in (1.0, 0.75):
        p = 1 / (1 + 2 * (1 - gamma))
        kernel = (
            gaussian_derivative(t, 2, 60, name)
            * scale_normalization(t, 2, gamma=gamma, method="lp", discretization=name)[:, None]
        )
        norm = (kernel.abs() ** p).sum(-1) ** (1 / p)
        assert_close(norm, continuous_norm(torch.ones_like(t), 2, p))  # the same at all scales


def test_a_normalization_that_makes_no_sense_is_refused():
    for options, message in (
        ({"method": "l2"}, "method must be"),
        ({"method": "lp", "p": 0.0}, "p must be"),
        ({"method": "lp", "p": math.inf}, "p must be above 0 and at most 100000, got inf"),
        ({"method": "lp", "gamma": 2.0}, "gamma=2.0 leaves no p for order 1; give p, or a gamma below 2"),
        ({"method": "lp", "gamma": 1.5, "order": 2}, "gamma=1.5 leaves no p for order 2; give p, or a gamma below 1.5"),
        ({"method": "lp", "gamma": 4 / 3, "order": 3}, "leaves no p for order 3; give p, or a gamma below 1.33333"),
        ({"order": -1}, "the order of a derivative must be at least 0, got -1"),
    ):
        with pytest.raises(ModelError, match=message):
            scale_normalization(double(1.0), **{"order": 1} | options)
    assert torch.isfinite(scale_normalization(double(1.0), 1, method="lp", gamma=2.0, p=1.0))
    with pytest.raises(ModelError, match="t must be above 0"):
        scale_normalization(double(0.0), 1, method="lp")


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_affine_derivatives_are_those_of_the_continuous_gaussian_or_come_near(angle, order):
    """A density of scipy is differentiated by a small step; the error of the discrete kernel falls as 1 / t."""
    worst = []
    for factor in (1, 4):
        covariance = factor * np.array([[9.0, 3.0], [3.0, 6.0]])
        density = stats.multivariate_normal(cov=covariance).pdf
        places = np.stack(np.meshgrid(np.arange(-5, 6), np.arange(5, -6, -1)), axis=-1)
        step = 1e-2 * np.array([math.cos(angle), math.sin(angle)])
        here, ahead, behind = density(places), density(places + step), density(places - step)
        wanted = (here, (ahead - behind) / 2e-2, (ahead - 2 * here + behind) / 1e-4)[order]
        sampled, discrete = (
            directional_derivative(torch.from_numpy(covariance), angle, order, 5, name).numpy()
            for name in ("sampled", "discrete")
        )
        np.testing.assert_allclose(sampled, wanted, atol=3e-5 * np.abs(wanted).max())
        worst.append(np.abs(discrete - wanted).max() / np.abs(wanted).max())
    assert worst[1] < 0.3 * worst[0] < 0.06


def test_a_directional_derivative_along_an_axis_is_a_partial_one():
    t = double(1.2, 0.7)
    for angle, orders in ((0.0, (3, 0)), (math.pi / 2, (0, 3))):
        for name in ("discrete", "sampled"):
            assert_close(
                directional_derivative(torch.diag(t), angle, 3, 4, name), derivative_kernel(t, orders, 4, name)
            )


def test_moments_of_a_directional_derivative_are_exact():
    """The discrete kernel has the covariance that was asked for, and a derivative answers to a ramp along its angle."""
    covariance = torch.tensor([[2.0, -0.8], [-0.8, 1.0]], dtype=torch.float64)
    smooth, first = (directional_derivative(covariance, 0.7, order, 24) for order in (0, 1))
    n = torch.arange(-24.0, 25, dtype=torch.float64)
    x, y = n.expand(49, 49), n.flip(0)[:, None].expand(49, 49)
    found = [float((smooth * a * b).sum()) for a, b in ((x, x), (x, y), (y, y))]
    np.testing.assert_allclose(found, [2.0, -0.8, 1.0], atol=1e-10)
    assert math.isclose(float((first * -(x * math.cos(0.7) + y * math.sin(0.7))).sum()), 1.0, abs_tol=1e-10)


@pytest.mark.parametrize(
    ("matrix", "name", "message"),
    [
        ([[1.0, 0.9], [0.9, 0.5]], "discrete", r"\|Cxy\| <= min"),
        ([[1.0, 2.0], [2.0, 1.0]], "sampled", "positive definite"),
        ([[1.0, 0.1], [0.2, 1.0]], "sampled", "symmetric"),
        ([[1.0, 0.0], [0.0, 1.0]], "integrated", "no affine form"),
    ],
)
def test_a_covariance_without_kernel_is_refused(matrix, name, message):
    with pytest.raises(ModelError, match=message):
        directional_derivative(double(*matrix), 0.0, 1, 2, name)


def picture(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_sampled_jets_are_those_of_scipy_with_y_upwards():
    """Scipy divides its samples by their sum, and repeats the outermost pixels in its mirror images as well."""
    image, sigma = picture(2, 9, 14), (0.8, 1.7)
    jet = n_jet(image, double(*sigma).square(), 3, "normalized-sampled")
    assert len(jet) == 10
    for (x, y), found in jet.items():
        wanted = [
            ndimage.gaussian_filter(one, sigma[::-1], order=(y, x), mode="reflect", truncate=9) * (-1) ** y
            for one in image.numpy()
        ]
        np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_jets_of_smoothed_images_are_jets_at_the_sum_of_the_variances():
    image, first, second = picture(3, 8, 11, 6), double(0.3, 0.8, 0.5), double(1.1, 0.2, 4.0)
    smoothed = n_jet(image, first, 0)[0, 0, 0]
    whole = n_jet(image, first + second, 2)
    for orders, field in n_jet(smoothed, second, 2).items():
        assert_close(field, whole[orders])


def test_a_blob_is_found_at_its_scale():
    """The scale-normalized Laplacian and determinant of the Hessian of a Gaussian blob are extremal at its variance."""
    blob = derivative_kernel(double(16.0, 16.0), (0, 0), 20)
    scales = torch.linspace(14, 18, 9, dtype=torch.float64)
    jets = [n_jet(blob, t.expand(2), 2, gamma=1.0) for t in scales]
    laplacian = [float((jet[2, 0] + jet[0, 2])[20, 20]) for jet in jets]
    hessian = [float((jet[2, 0] * jet[0, 2] - jet[1, 1] ** 2)[20, 20]) for jet in jets]
    assert abs(scales[np.argmin(laplacian)] - 16) <= 0.5
    assert abs(scales[np.argmax(hessian)] - 16) <= 0.5


def test_jets_differentiate_in_images_and_scales():
    image, t = picture(5).requires_grad_(), double(0.7)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda image, t: n_jet(image, t, 2, gamma=0.5)[(2,)], (image, t))


@pytest.mark.parametrize(
    ("image", "t", "order", "name", "message"),
    [
        (picture(4), double(1.0, 1.0), 1, "discrete", r"images must have shape \(..., rows, cols\)"),
        (picture(4, 0), double(1.0, 1.0), 1, "discrete", "with no empty side"),
        (picture(4, 4), torch.ones(4), 1, "discrete", "t must hold one variance for each"),
        (picture(4, 4), double(1.0, 1.0), -1, "discrete", "the order of a jet"),
        (picture(4, 4), double(0.0, 1.0), 1, "sampled", "has no derivatives at t = 0"),
        (picture(4, 4), double(-1.0, 1.0), 1, "discrete", "t is a variance"),
    ],
)
def test_a_jet_that_makes_no_sense_is_refused(image, t, order, name, message):
    with pytest.raises(ModelError, match=message):
        n_jet(image, t, order, name)
