"""The minimiser in two bounded parameters, for many problems at once."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scalekeys.fitting.newton import minimize

UPPER = torch.tensor([9.0, 9.0], dtype=torch.float64)


@dataclass
class Bowls:
    """``|p - centre|^2 * width``, which no one may ask for outside the box."""

    centre: torch.Tensor
    width: torch.Tensor

    def select(self, index):
        return Bowls(self.centre[:, index], self.width[index])

    def __call__(self, p):
        if bool((p < -1e-9).any()) or bool((p > 9 + 1e-9).any()):
            pytest.fail(f"asked for parameters in [{float(p.min())}, {float(p.max())}]")
        away = p - self.centre
        hessian = 2 * self.width * torch.eye(2, dtype=p.dtype)[:, :, None]
        return self.width * away.square().sum(0), 2 * self.width * away, hessian


def test_minima_inside_and_on_the_edges_are_found_without_leaving_the_box():
    generator = torch.Generator().manual_seed(0)
    centre = -4 + 18 * torch.rand(2, 400, generator=generator, dtype=torch.float64)
    bowls = Bowls(centre, 0.01 + torch.rand(400, generator=generator, dtype=torch.float64))
    start = 9 * torch.rand(2, 400, generator=generator, dtype=torch.float64)
    found, _ = minimize(bowls, start, UPPER)
    np.testing.assert_allclose(found, centre.clamp(0, 9), atol=1e-5)


def test_what_is_done_stays_where_it_is_while_others_go_on():
    # The first is so flat that its last step, to the edge, is taken unseen; the others go on.
    centre = torch.tensor([[-4.0, 5.0, 3.0, 2.0], [-4.0, 5.0, 1.0, 7.0]], dtype=torch.float64)
    start = torch.tensor([[0.005, 0.0, 9.0, 9.0], [0.005, 9.0, 0.0, 9.0]], dtype=torch.float64)
    width = torch.tensor([1e-15, 1.0, 1.0, 1.0], dtype=torch.float64)
    found, _ = minimize(Bowls(centre, width), start, UPPER)
    np.testing.assert_allclose(found, centre.clamp(min=0), atol=1e-5)
