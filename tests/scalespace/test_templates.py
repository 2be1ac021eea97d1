"""The eight families against their definitions written out, and the relations between them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.special import ive

from scalekeys.errors import ModelError
from scalekeys.scalespace import FAMILIES, IDEAL8, WINDOWS, family, template, template_plan
from tolerances import DEVICES, DTYPES, assert_close

SIZES = [(7, 7), (3, 3), (5, 9), (9, 5), (1, 7), (7, 1), (1, 1)]
SIGMAS = [(0.0, 0.0), (0.0, 1.3), (0.9, 0.0), (0.6, 0.8), (2.5, 1.0), (12.0, 9.0)]
ALPHA = 0.5256  # of the published fit of filter 7

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
names = pytest.mark.parametrize("name", IDEAL8)
windows = pytest.mark.parametrize("window", WINDOWS)
scales = st.tuples(st.floats(0, 3), st.floats(0, 3))


def exact(name: str, tx: float, ty: float, size: tuple[int, int]) -> np.ndarray:
    """The definitions as functions of integers x (right) and y (up), read off at every pixel."""

    def g(x, y):
        return ive(np.abs(x), tx) * ive(np.abs(y), ty)

    rows, cols = np.mgrid[: size[0], : size[1]]
    x, y = cols - size[1] // 2, size[0] // 2 - rows
    return {
        "dy+": g(x, y + 1) - g(x, y),
        "dx-": g(x, y) - g(x - 1, y),
        "dy-": g(x, y) - g(x, y - 1),
        "dx+": g(x + 1, y) - g(x, y),
        "dx": (g(x + 1, y) - g(x - 1, y)) / 2,
        "dy": (g(x, y + 1) - g(x, y - 1)) / 2,
        "sharpen": (x == 0) * (y == 0) - ALPHA * (g(x + 1, y) + g(x - 1, y) + g(x, y + 1) + g(x, y - 1) - 4 * g(x, y)),
        "smooth": g(x, y),
    }[name]


def published(name: str, tx: float, ty: float, size: tuple[int, int]) -> np.ndarray:
    """The same with T cropped to the window first; mirrored borders, and a zero border for the Laplacian."""
    T = np.outer(ive(np.abs(np.arange(size[0]) - size[0] // 2), ty), ive(np.abs(np.arange(size[1]) - size[1] // 2), tx))
    padded = np.pad(T, 1, mode="symmetric")
    above, below, left, right = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    impulse = np.zeros(size)
    impulse[size[0] // 2, size[1] // 2] = 1
    five_point = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return {
        "dy+": above - T,
        "dx-": T - left,
        "dy-": T - below,
        "dx+": right - T,
        "dx": (right - left) / 2,
        "dy": (above - below) / 2,
        "sharpen": impulse - ALPHA * ndimage.convolve(T, five_point, mode="constant"),
        "smooth": T,
    }[name]


def strength(name: str, value: float = ALPHA) -> dict[str, float]:
    return {"alpha": value} if "alpha" in FAMILIES[name].parametrization.names else {}


def evaluate(name: str, sigma: tuple[float, float], size: int | tuple[int, int] = 7, window="exact") -> torch.Tensor:
    return template(name, torch.tensor(sigma, dtype=torch.float64), size, window=window, **strength(name))


def pixels(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.arange(size, dtype=torch.float64) - size // 2
    return x, -x[:, None]


@names
@sizes
@pytest.mark.parametrize(("window", "definition"), [("exact", exact), ("published", published)])
def test_it_is_its_definition(name, size, window, definition):
    batch = template(name, torch.tensor(SIGMAS, dtype=torch.float64), size, window=window, **strength(name))
    for kernel, (sigma_x, sigma_y) in zip(batch, SIGMAS, strict=True):
        ty = sigma_x**2 if name == "sharpen" else sigma_y**2
        assert_close(kernel, definition(name, sigma_x**2, ty, size))


@names
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("device", DEVICES)
@windows
def test_a_batch_holds_what_its_members_give_alone_on_its_dtype_and_device(name, dtype, device, window):
    sigma = torch.tensor(SIGMAS, dtype=dtype, device=device).reshape(2, 3, 2)
    batch = template(name, sigma, (5, 7), window=window, **strength(name))
    assert (batch.shape, batch.dtype, batch.device.type) == ((2, 3, 5, 7), dtype, device)
    for i, j in np.ndindex(2, 3):
        alone = template(name, sigma[i, j].double(), (5, 7), window=window, **strength(name))
        assert_close(batch[i, j], alone)


@names
def test_an_empty_batch_gives_an_empty_batch_of_templates(name):
    assert template(name, torch.empty(0, 2), 5, **strength(name)).shape == (0, 5, 5)


def test_alpha_may_be_a_number_a_tensor_or_an_array_of_one_strength_for_each_scale():
    sigma = torch.tensor([[0.5, 0.5], [1.0, 1.0]], dtype=torch.float64)
    strengths = np.array([0.2, 0.9])
    strengths.flags.writeable = False
    both = template("sharpen", sigma, alpha=strengths)
    assert_close(template("sharpen", sigma, alpha=torch.tensor(strengths.copy())), both)
    for i in range(2):
        assert_close(template("sharpen", sigma[i], alpha=float(strengths[i])), both[i])


def test_sharpen_ignores_the_second_scale():
    assert torch.equal(evaluate("sharpen", (0.7, math.nan)), evaluate("sharpen", (0.7, 0.7)))


def test_arrays_are_taken_like_tensors():
    sigma = np.array([[0.5, 0.9]], dtype=np.float32)
    assert torch.equal(template("dx+", sigma), template("dx+", torch.tensor(sigma)))


@names
def test_gradients_of_a_template_agree_with_finite_differences(name):
    sigma = torch.tensor([[0.6, 0.9], [1.4, 0.3]], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([0.5, 0.8], dtype=torch.float64, requires_grad=True)
    inputs = (sigma, alpha) if strength(name) else (sigma,)
    assert torch.autograd.gradcheck(lambda s, *a: template(name, s, 3, **({"alpha": a[0]} if a else {})), inputs)


@windows
@pytest.mark.parametrize("axis", ["x", "y"])
@given(sigma=scales)
def test_mirroring_turns_the_forward_into_minus_the_backward_difference(window, axis, sigma):
    mirrored = evaluate(f"d{axis}+", sigma, window=window).flip(-1 if axis == "x" else -2)
    assert_close(mirrored, -evaluate(f"d{axis}-", sigma, window=window))


@windows
@pytest.mark.parametrize("kind", ["+", "-", ""])
@given(sigma=scales)
def test_exchanging_x_and_y_exchanges_the_families_along_them(window, kind, sigma):
    upright = evaluate(f"dy{kind}", sigma, window=window).flip(-2)  # now y grows with the rows, as x with the columns
    assert_close(upright, evaluate(f"dx{kind}", sigma[::-1], window=window).flip(-2).mT)


@windows
@pytest.mark.parametrize("axis", ["x", "y"])
@given(sigma=scales)
def test_the_central_difference_is_the_mean_of_the_one_sided_ones(window, axis, sigma):
    forward, backward = (evaluate(f"d{axis}{side}", sigma, window=window) for side in "+-")
    assert_close(evaluate(f"d{axis}", sigma, window=window), (forward + backward) / 2)


@pytest.mark.parametrize("name", [name for name in IDEAL8 if name.startswith("d")])
@settings(max_examples=15)
@given(sigma=scales)
def test_a_derivative_answers_with_1_to_a_ramp_along_its_axis_and_not_to_other_things(name, sigma):
    x, y = pixels(61)
    kernel = evaluate(name, sigma, 61)
    ramps = {"x": (kernel * -x).sum(), "y": (kernel * -y).sum()}  # a convolution meets the ramp mirrored
    along, across = (ramps["x"], ramps["y"]) if name[1] == "x" else (ramps["y"], ramps["x"])
    assert_close(along, np.array(1.0), absolute=1e-12)
    assert_close(torch.stack([across, kernel.sum()]), np.zeros(2), absolute=1e-12)


@pytest.mark.parametrize("name", ["smooth", "sharpen"])
@settings(max_examples=15)
@given(sigma=scales)
def test_smoothing_and_sharpening_keep_constants_and_answer_evenly(name, sigma):
    x, y = pixels(61)
    kernel = evaluate(name, sigma, 61)
    assert_close(kernel.sum(), np.array(1.0), absolute=1e-12)
    assert_close(torch.stack([(kernel * x).sum(), (kernel * y).sum()]), np.zeros(2), absolute=1e-12)


def test_without_scale_a_derivative_is_the_operator_itself():
    x_plus = template("dx+", torch.zeros(2), 3)
    y_plus = template("dy+", torch.zeros(2), 3)
    assert_close(x_plus, np.array([[0, 0, 0], [1, -1, 0], [0, 0, 0]]))
    assert_close(y_plus, np.array([[0, 0, 0], [0, -1, 0], [0, 1, 0]]))


def test_the_families_stand_in_the_order_of_the_published_filters():
    assert IDEAL8 == ("dy+", "dx-", "dy-", "dx+", "dx", "dy", "sharpen", "smooth")
    assert tuple(FAMILIES)[:8] == IDEAL8
    assert [name for name in IDEAL8 if strength(name)] == ["sharpen"]


def test_a_family_says_along_which_axes_it_differentiates():
    along_x, along_y = ([name for name in IDEAL8 if family(name).differentiated[axis]] for axis in (0, 1))
    assert along_x == ["dx-", "dx+", "dx", "sharpen"]
    assert along_y == ["dy+", "dy-", "dy", "sharpen"]


def test_a_plan_is_built_once_for_each_combination():
    assert template_plan("dx", (7, 7)) is template_plan("dx", (7, 7))
    assert template_plan("dx", (7, 7)) is not template_plan("dx", (7, 7), "published")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "dxxx"},
            r"no family is called 'dxxx'; the families are dy\+, dx-, dy-, dx\+, dx, dy, sharpen, smooth",
        ),
        ({"size": -1}, "the sides of a window must be at least 1, got -1x-1"),
        ({"size": (7, 0)}, "the sides of a window must be at least 1, got 7x0"),
        (
            {"size": (7, 4), "window": "published"},
            "the published window is defined for odd sides, got 7x4; use window=",
        ),
        ({"size": (3, 3, 3, 3)}, "kernels have 1, 2 or 3 axes, got 4"),
        ({"size": (7,), "name": "dy"}, "no family of kernels with 1 axis is called 'dy'; the families are dx-, dx"),
        ({"window": "round"}, "window must be one of 'exact', 'published', got 'round'"),
        ({"sigma": torch.ones(3)}, r"sigma must end in an axis \(sigma_x, sigma_y\) of length 2, got shape \(3,\)"),
        ({"sigma": torch.tensor(1.0)}, r"of length 2, got shape \(\)"),
        ({"sigma": torch.tensor([1.0, -0.5])}, r"must be at least 0; got \[-0\.5, 1\.0\]"),
        ({"sigma": torch.tensor([math.nan, 1.0])}, "sigma is a standard deviation and must be at least 0"),
        ({"sigma": torch.ones(2), "size": (3, 3, 3)}, r"an axis \(sigma_x, sigma_y, sigma_z\) of length 3, got"),
        ({"name": "dog", "sigma": torch.tensor([1.0, math.inf])}, "'dog' has no template at an infinite scale"),
        (
            {"name": "sharpen", "sigma": torch.full((2,), math.inf), "alpha": 0.5},
            "'sharpen' has no template at an infinite scale",
        ),
        ({"sigma": torch.ones(2, dtype=torch.complex64)}, r"expected real numbers, got torch\.complex64"),
        ({"alpha": 0.5}, "family 'dx' takes no alpha"),
        ({"name": "sharpen"}, "family 'sharpen' needs alpha"),
        (
            {"name": "sharpen", "alpha": torch.ones(3), "sigma": torch.ones(2, 2)},
            r"alpha must be one number or have the shape of sigma without its last axis, got \(3,\)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    options = {"name": "dx", "sigma": torch.ones(2)} | arguments
    with pytest.raises(ValueError, match=message) as refusal:
        template(options.pop("name"), options.pop("sigma"), **options)
    assert type(refusal.value).__module__ == ModelError.__module__
