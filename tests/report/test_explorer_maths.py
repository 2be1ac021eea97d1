"""The scale space of the explorer, in a browser, against that of the package: kernels, limits, and fits."""

import base64
import math
from importlib import resources

import numpy as np
import pytest
import torch
from scipy.special import ive

from scalekeys.report.explorer.tables import family_table, operator_table
from scalekeys.scalespace import WIDE_JET, families, template, template_plan

pytestmark = pytest.mark.browser

SIZES = [(7, 7), (4, 6), (5, 2), (9,), (4,), (3, 5, 4)]
SCALES = [(0.0, 0.0, 0.0), (0.35, 0.8, 0.5), (1.7, 1.1, 2.3), (20.0, 6.0, 11.0)]
ANGLES = [0.0, 0.4, 2.0]
_RUN = """async ([source, operators, families, cases]) => {
    const maths = await import(`data:text/javascript;base64,${source}`);
    return cases.map(([family, parameters, size, learned]) => {
        const numbers = parameters.map((value) => value ?? Infinity);
        const parts = maths.components(families[size.length][family], numbers, size, operators);
        const {r2, coefficients, offset, model} = maths.solve(Float64Array.from(learned), parts);
        return {parts: parts.map((part) => [...part]), r2, coefficients, offset, model: [...model]};
    });
}"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


def source():
    text = resources.files("scalekeys.report.explorer").joinpath("assets", "scalespace.js").read_bytes()
    return base64.b64encode(text).decode()


def run(page, cases):
    tables = {axes: {family["name"]: family for family in family_table(axes)} for axes in (1, 2, 3)}
    return page.evaluate(_RUN, [source(), operator_table(), tables, cases])


def learned_of(size, seed):
    return np.random.default_rng(seed).normal(size=size).ravel()


def parameters_of(family, scales, angle):
    """Numbers as the explorer takes them, standard deviations first."""
    names = family.parametrization.names
    if "angle" in names:
        return [1.2 * scales[0] + 0.1, scales[0] + 0.1, angle]  # within the bound of a positive kernel
    if "alpha" in names:
        return [scales[0], 0.7]
    if "t_outer" in names:
        return [scales[0], scales[0] + 0.5]
    return list(scales[: len(names)])


def expected_parts(name, parameters, size):
    named = zip(families(len(size))[name].parameters, parameters, strict=True)
    own = [p if n in ("alpha", "angle") else p * p for n, p in named]
    return template_plan(name, size)(torch.tensor([own], dtype=torch.float64))[0].flatten(1).numpy()


def independent_fit(learned, parts):
    """Share explained by least squares with an offset, by an independent solver."""
    matrix = np.column_stack([*parts, np.ones(len(learned))])
    matrix /= np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    rest = learned - matrix @ np.linalg.lstsq(matrix, learned, rcond=1e-13)[0]
    return 1 - (rest @ rest) / np.square(learned - learned.mean()).sum()


def test_the_discrete_gaussian_is_that_of_bessel_functions(page):
    values = page.evaluate(
        """async ([source, ts]) => {
            const {discreteGaussian} = await import(`data:text/javascript;base64,${source}`);
            return ts.map((t) => [...discreteGaussian(t, 12)]);
        }""",
        [source(), ts := [0.0, 1e-6, 0.3, 1.0, 40.0, 1e4, 1e6]],
    )
    for t, own in zip(ts, values, strict=True):
        np.testing.assert_allclose(own, ive(np.arange(13), t), rtol=2e-12, atol=1e-300)


@pytest.mark.parametrize("size", SIZES)
def test_every_family_is_that_of_the_package(page, size):
    cases = [
        (name, parameters_of(family, scales, angle), size, learned_of(size, 3).tolist())
        for name, family in families(len(size)).items()
        for scales in SCALES
        if name != WIDE_JET or max(scales) < 10  # beyond, differences of order six are below the rounding error
        for angle in (ANGLES if "angle" in family.parameters else ANGLES[:1])
    ]
    for (name, parameters, _, learned), got in zip(cases, run(page, cases), strict=True):
        parts = expected_parts(name, parameters, size)
        np.testing.assert_allclose(got["parts"], parts, rtol=1e-9, atol=1e-14, err_msg=f"{name} {parameters}")
        assert got["r2"] == pytest.approx(independent_fit(np.array(learned), parts), abs=1e-5), (name, parameters)
        model = np.array(got["coefficients"]) @ parts + got["offset"]
        np.testing.assert_allclose(model, got["model"], atol=1e-6 * np.abs(got["coefficients"]).max() + 1e-9)


@pytest.mark.parametrize("size", [(7, 7), (4, 6), (9,), (4,), (3, 5, 4)])
@pytest.mark.parametrize("which", ["first", "all"])
def test_infinite_scales_are_those_of_the_package(page, size, which):
    axes = len(size)
    sigma = [math.inf if which == "all" or axis == 0 else 0.8 for axis in range(axes)]
    names = [name for name, own in families(axes).items() if not own.mixed and own.parameters[0] == "tx"]
    sent = [None if math.isinf(value) else value for value in sigma]
    cases = [(name, sent, size, learned_of(size, 5).tolist()) for name in names]
    for (name, _, _, learned), got in zip(cases, run(page, cases), strict=True):
        expected = template(name, torch.tensor(sigma, dtype=torch.float64), size).flatten().numpy()
        np.testing.assert_allclose(got["parts"][0], expected, atol=1e-12, err_msg=name)
        assert got["r2"] == pytest.approx(independent_fit(np.array(learned), expected[None]), abs=1e-5)
