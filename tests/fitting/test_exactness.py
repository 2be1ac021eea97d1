"""The optimum that is found is the global one, and noise-free filters give back what made them."""

import numpy as np
import pytest
import torch
from scipy import optimize, special

import scalekeys as sk
from scalekeys.scalespace import IDEAL8, template

_STARTS, _REFINED = 100, 2


def _profile(t, half, operator):
    """A difference of exp(-t) I_n(t) on -half .. half, written with scipy and apart from the package."""
    n = np.arange(-half, half + 1)
    f = lambda shift: special.ive(np.abs(n + shift), t)  # noqa: E731
    return {
        "1": lambda: f(0),
        "+": lambda: f(1) - f(0),
        "-": lambda: f(0) - f(-1),
        "0": lambda: (f(1) - f(-1)) / 2,
        "2": lambda: f(1) - 2 * f(0) + f(-1),
    }[operator]()


def _template(name, p, half):
    if name == "sharpen":
        t, alpha = p
        plain, second = _profile(t, half, "1"), _profile(t, half, "2")
        impulse = np.zeros((2 * half + 1, 2 * half + 1))
        impulse[half, half] = 1
        return impulse - alpha * (np.outer(plain, second) + np.outer(second, plain))
    kind = {"smooth": "1", "dx": "0", "dy": "0"}.get(name, name[-1])
    x = _profile(p[0], half, kind if "x" in name else "1")
    y = _profile(p[1], half, kind if "y" in name else "1")
    return np.outer(y[::-1], x)


def _parameters(name, count, half, rng):
    """Random variances along both axes, or a variance and a strength."""
    high = [(2 * half + 1.0) ** 2, 10.0 if name == "sharpen" else (2 * half + 1.0) ** 2]
    return np.minimum(rng.exponential(1.0, (count, 2)), high), [(0, end) for end in high]


def _best_shares(filters, rng):
    """Largest r2 of any family for each filter, by bounded scipy searches from the best of many random starts."""
    half = filters.shape[-1] // 2
    targets = filters.reshape(len(filters), -1)
    targets = targets - targets.mean(1, keepdims=True)
    targets = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    best = np.zeros(len(filters))
    for name in IDEAL8:
        starts, bounds = _parameters(name, _STARTS, half, rng)

        def shares(p, some, name=name):
            kernel = _template(name, p, half).flatten()
            kernel = kernel - kernel.mean()
            return (some @ kernel) ** 2 / (kernel @ kernel)

        promise = np.array([shares(start, targets) for start in starts])
        for index, target in enumerate(targets):
            for start in starts[np.argsort(-promise[:, index])[:_REFINED]]:
                found = optimize.minimize(
                    lambda p, target=target: -shares(p, target),
                    start,
                    method="Nelder-Mead",
                    bounds=bounds,
                    options={"xatol": 1e-6, "fatol": 1e-12},
                )
                best[index] = max(best[index], -found.fun)
    return best


@pytest.mark.parametrize("side", [3, 5, 7])
def test_no_scipy_search_from_many_starts_finds_a_better_fit(side):
    rng = np.random.default_rng(side)
    noise = torch.from_numpy(rng.standard_normal((3, side, side)))
    keys = sk.master_keys()[[1, 4, 6], 3 - side // 2 : 4 + side // 2, 3 - side // 2 : 4 + side // 2]
    filters = torch.cat([noise, keys + 0.05 * noise])
    assert (sk.fit(filters).r2.numpy() >= _best_shares(filters.numpy(), rng) - 1e-9).all()


@pytest.mark.parametrize("name", IDEAL8)
def test_the_optimum_beats_a_dense_grid(name):
    generator = torch.Generator().manual_seed(3)
    filters = torch.randn(20, 5, 5, generator=generator, dtype=torch.float64)
    found = sk.fit(filters, name).r2
    side = torch.cat([torch.linspace(0, 2, 60), torch.linspace(2, 5, 30)[1:]]).double()
    if name == "sharpen":
        sigma, alpha = torch.cartesian_prod(side, torch.linspace(0, 10, 90).double()).unbind(-1)
        grid = template(name, torch.stack([sigma, sigma], -1), 5, alpha=alpha)
    else:
        grid = template(name, torch.cartesian_prod(side, side), 5)
    grid = grid.flatten(1) - grid.flatten(1).mean(-1, keepdim=True)
    grid = torch.nn.functional.normalize(grid, dim=-1)
    centred = filters.flatten(1) - filters.flatten(1).mean(-1, keepdim=True)
    best = (torch.nn.functional.normalize(centred, dim=-1) @ grid.T).square().amax(-1)
    assert (found >= best - 1e-12).all()


def test_a_scale_of_zero_is_found_exactly():
    fit = sk.fit(template("dx+", torch.tensor([[0.0, 1.0]], dtype=torch.float64), 7))
    assert fit.family[0] == "dx+"
    assert fit.sigma[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert fit.status[0] == "ok"


def test_an_impulse_is_a_smoothing_of_scale_zero_and_not_a_sharpening():
    impulse = torch.zeros(1, 7, 7)
    impulse[0, 3, 3] = 2.0
    fit = sk.fit(impulse)
    assert fit.family[0] == "smooth"
    np.testing.assert_allclose(fit.sigma[0], 0.0, atol=1e-6)
    assert fit.r2[0] == pytest.approx(1.0, abs=1e-12)
