"""The minimiser in a few bounded parameters, for many problems at once."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import optimize

from scalekeys.fitting.solvers.box_newton import box_step, minimize
from scalekeys.scalespace import INFINITE

parameters_ = pytest.mark.parametrize("parameters", [1, 2, 3])
WIDTH = 9.0


def box(parameters):
    return torch.zeros(parameters, dtype=torch.float64), torch.full((parameters,), WIDTH, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass
class Bowls:
    """``(p - centre)^T H (p - centre) / 2``, which no one may ask for outside the box."""

    centre: torch.Tensor
    hessian: torch.Tensor

    @classmethod
    def round(cls, centre, width):
        return cls(centre, 2 * width * torch.eye(len(centre), dtype=centre.dtype)[..., None])

    def select(self, index):
        return Bowls(self.centre[:, index], self.hessian[..., index])

    def __call__(self, p):
        if bool((p < -1e-9).any()) or bool((p > WIDTH + 1e-9).any()):
            pytest.fail(f"asked for parameters in [{float(p.min())}, {float(p.max())}]")
        away = p - self.centre
        gradient = (self.hessian * away).sum(1)
        return 0.5 * (away * gradient).sum(0), gradient, self.hessian


@dataclass
class Waves:
    """Functions with many minima, maxima and saddles, with derivatives by automatic differentiation."""

    phase: torch.Tensor

    def select(self, index):
        return Waves(self.phase[:, index])

    def value(self, p):
        crossed = torch.sin(p.sum(0)) + torch.cos(0.7 * p[0] - 1.3 * p[-1])
        return torch.sin(1.1 * p + self.phase).sum(0) + crossed + 0.02 * (p - 4).square().sum(0)

    def __call__(self, p):
        p = p.detach().requires_grad_()
        value = self.value(p)
        (gradient,) = torch.autograd.grad(value.sum(), p, create_graph=True)
        rows = [torch.autograd.grad(row.sum(), p, retain_graph=True)[0] for row in gradient]
        return value.detach(), gradient.detach(), torch.stack(rows)


@parameters_
def test_minima_inside_and_on_the_edges_are_found_without_leaving_the_box(parameters):
    centre = -4 + 18 * random(parameters, 400)
    bowls = Bowls.round(centre, 0.01 + random(400, seed=1))
    found, _ = minimize(bowls, WIDTH * random(parameters, 400, seed=2), *box(parameters))
    np.testing.assert_allclose(found, centre.clamp(0, WIDTH), atol=1e-5)


@pytest.mark.parametrize("parameters", [2, 3])
def test_slanted_bowls_have_the_minima_of_bounded_scipy_searches(parameters):
    root = random(parameters, parameters, 40) - 0.5
    hessian = torch.einsum("ikn,jkn->ijn", root, root) + 0.02 * torch.eye(parameters, dtype=root.dtype)[..., None]
    bowls = Bowls(-4 + 18 * random(parameters, 40, seed=3), hessian)
    found, value = minimize(bowls, WIDTH * random(parameters, 40, seed=4), *box(parameters))
    for n in range(40):
        one = bowls.select(torch.tensor([n]))

        def both(p, one=one):
            value, gradient, _ = one(torch.from_numpy(np.clip(p, 0, WIDTH))[:, None])
            return float(value), gradient[:, 0].numpy()

        options = {"ftol": 1e-15, "gtol": 1e-10}
        best = optimize.minimize(
            both,
            np.full(parameters, 4.0),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, WIDTH)] * parameters,
            options=options,
        )
        assert float(value[n]) <= best.fun + 1e-9
        np.testing.assert_allclose(found[:, n], best.x, atol=1e-4)


@parameters_
def test_where_there_are_many_minima_one_is_reached_and_never_a_worse_place(parameters):
    waves = Waves(6 * random(parameters, 300, seed=5))
    start = WIDTH * random(parameters, 300, seed=6)
    lower, upper = box(parameters)
    found, value = minimize(waves, start, lower, upper)
    assert ((found >= lower[:, None]) & (found <= upper[:, None])).all()
    assert (value <= waves.value(start) + 1e-12).all()
    reached, gradient, hessian = waves(found)
    np.testing.assert_allclose(reached, value, atol=1e-12)
    inside = (found > 0) & (found < WIDTH)
    outwards = torch.where(found == 0, gradient.clamp(max=0), gradient.clamp(min=0))
    assert torch.where(inside, gradient, outwards).abs().max() < 1e-6
    everywhere = inside.all(0)
    assert everywhere.sum() > 50
    assert torch.linalg.eigvalsh(hessian[..., everywhere].movedim(-1, 0)).min() > -1e-6  # no saddle, no maximum


def test_what_is_done_stays_where_it_is_while_others_go_on():
    # The first is so flat that its last step, to the edge, is taken unseen; the others go on.
    centre = torch.tensor([[-4.0, 5.0, 3.0, 2.0], [-4.0, 5.0, 1.0, 7.0]], dtype=torch.float64)
    start = torch.tensor([[0.005, 0.0, 9.0, 9.0], [0.005, 9.0, 0.0, 9.0]], dtype=torch.float64)
    width = torch.tensor([1e-15, 1.0, 1.0, 1.0], dtype=torch.float64)
    found, _ = minimize(Bowls.round(centre, width), start, *box(2))
    np.testing.assert_allclose(found, centre.clamp(min=0), atol=1e-5)


@parameters_
def test_the_result_of_a_problem_does_not_depend_on_the_others(parameters):
    waves, start = Waves(6 * random(parameters, 50, seed=7)), WIDTH * random(parameters, 50, seed=8)
    together, _ = minimize(waves, start, *box(parameters))
    some = torch.tensor([3, 17, 40])
    alone, _ = minimize(waves.select(some), start[:, some], *box(parameters))
    np.testing.assert_allclose(alone, together[:, some], atol=1e-9)


def test_a_parameter_that_is_held_does_not_stop_the_others_early():
    """The end of a range of no length is no infinite scale, near which a small promise is none."""
    flat = Bowls.round(torch.tensor([[0.3], [0.0]], dtype=torch.float64), torch.tensor(1e-6, dtype=torch.float64))
    ends = (torch.zeros(2, 1, dtype=torch.float64), torch.tensor([[0.9], [0.0]], dtype=torch.float64))
    start = torch.tensor([[0.32], [0.0]], dtype=torch.float64)
    for lower, upper in (ends, [end[:, 0] for end in ends]):
        found, _ = minimize(flat, start, lower, upper, compact=True)
        assert found[:, 0].tolist() == pytest.approx([0.3, 0.0], abs=1e-9)


def test_no_problems_are_no_trouble():
    found, value = minimize(Waves(torch.zeros(2, 0, dtype=torch.float64)), torch.zeros(2, 0).double(), *box(2))
    assert found.shape == (2, 0)
    assert value.shape == (0,)


@dataclass
class FarAway:
    """In ``w = 1 - u``: a share that falls towards infinite scales, at a ratio of the w that counts there."""

    ratio: torch.Tensor
    weight: float = 1.0

    def select(self, index):
        return FarAway(self.ratio[index], self.weight)

    def value(self, u):
        w = 1 - u
        return self.weight * w.sum(0) / len(u) + 0.1 * (torch.log(w[0] / w[-1]) - self.ratio).square()

    __call__ = Waves.__call__


@pytest.mark.parametrize("parameters", [2, 3])
def test_where_all_scales_become_infinite_their_ratio_is_found(parameters):
    ratio = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    lower, upper = torch.zeros(parameters, dtype=torch.float64), torch.full((parameters,), INFINITE).double()
    start = 0.6 + 0.3 * random(parameters, 9, seed=9)
    found, value = minimize(FarAway(ratio), start, lower, upper, compact=True)
    assert (found >= lower[:, None]).all()
    assert (found <= upper[:, None]).all()
    assert (value < 1e-7).all()  # what being short of infinity and off the ratio costs together


def at_random(parameters, count=2000):
    draw = torch.Generator().manual_seed(11)
    gradient = torch.randn(parameters, count, generator=draw, dtype=torch.float64)
    half = torch.randn(parameters, parameters, count, generator=draw, dtype=torch.float64)
    u = torch.rand(parameters, count, generator=draw, dtype=torch.float64)
    u = torch.where(u < 0.2, 0.0, torch.where(u > 0.8, 1.0, u))
    return u, gradient, half + half.transpose(0, 1)


@parameters_
def test_a_step_stays_in_the_box_and_descends(parameters):
    u, gradient, hessian = at_random(parameters)
    low, high = torch.zeros(parameters, 1).double(), torch.ones(parameters, 1).double()
    step = box_step(u, gradient, hessian, low, high)
    assert (u + step >= -1e-12).all()
    assert (u + step <= 1 + 1e-12).all()
    assert ((gradient * step).sum(0) <= 1e-12).all()
    drawn_out = (u == 0) & (gradient > 0) | (u == 1) & (gradient < 0)
    assert (step[drawn_out] == 0).all()
    free = ~drawn_out.all(0)
    assert ((gradient * step).sum(0)[free] < 0).float().mean() > 0.99


@parameters_
def test_without_edges_a_step_is_newton_s_with_the_absolute_eigenvalues(parameters):
    _, gradient, hessian = at_random(parameters, 200)
    far = torch.full((parameters, 1), 1e6, dtype=torch.float64)
    step = box_step(torch.zeros_like(gradient), gradient, hessian, -far, far)
    for n in range(200):
        values, vectors = np.linalg.eigh(hessian[..., n].numpy())
        expected = -vectors @ ((vectors.T @ gradient[:, n].numpy()) / np.abs(values))
        np.testing.assert_allclose(step[:, n], expected, rtol=1e-6, atol=1e-8)


def test_a_parameter_apart_changes_nothing_for_the_others():
    # Two parameters have a formula of their own; with a third that does not matter they take the general way.
    u, gradient, hessian = at_random(2, 500)
    padded = torch.zeros(3, 3, 500, dtype=torch.float64)
    padded[:2, :2], padded[2, 2] = hessian, 1.0
    blank = torch.zeros(1, 500, dtype=torch.float64)
    low, high = torch.zeros(3, 1).double(), torch.ones(3, 1).double()
    three = box_step(torch.cat([u, blank + 0.5]), torch.cat([gradient, blank]), padded, low, high)
    np.testing.assert_allclose(three[:2], box_step(u, gradient, hessian, low[:2], high[:2]), rtol=1e-6, atol=1e-9)
    assert (three[2] == 0).all()
