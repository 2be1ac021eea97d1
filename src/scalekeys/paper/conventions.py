"""Published numbers that a slip or a grid decides, and conventions that change a result, with both values of each."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.filters import moment_normalization
from scalekeys.fitting import fit
from scalekeys.paper import published
from scalekeys.paper.curves import norm_at
from scalekeys.paper.study import Study
from scalekeys.scalespace import FORWARD, difference, discrete_gaussian, sampled_gaussian, template

_SIGMAS = 4001


@dataclass(frozen=True)
class Convention:
    """One disagreement with the published material.

    Parameters
    ----------
    title : str
        A few words.
    filter : str
        Number of the filter it is shown on.
    sentence : str
        What was published, what is done here, and why.
    measure : str
        What the two values measure.
    published, here : float
        The value with the published number or convention, and the value here.
    """

    title: str
    filter: str
    sentence: str
    measure: str
    published: float
    here: float


def questionable_conventions(study: Study) -> list[Convention]:
    """Return the disagreements with the published numbers and scripts, with both objective values.

    Nothing for filters that are not the paper's.
    """
    if not study.published:
        return []
    return [
        _l1_strength(study),
        _l2_strength(study),
        _upside_down(study, 0, "dy-"),
        _upside_down(study, 2, "dy+"),
        _smoothed_impulse(study),
        _sampled(study),
        _zeroed_borders(study),
    ]


def _l1_strength(study: Study) -> Convention:
    best = study.fits["published", "C1"]
    grid = _grid_minimum(study, 1)
    slip = float(_nodes(published.SHARPENING_ALPHAS[2])[grid.place[1]])
    return Convention(
        "The l1 strength of filter 7 is read from the grid of the l2 search",
        "7",
        f"On the grid of the published notebook (sigma from 0.60 to 0.70, alpha from 0.40 to 0.55, {published.NODES} "
        f"nodes each, DC offset {published.NOTEBOOK_OFFSET_7}) the l1 objective is least at node {grid.place}, which "
        f"means sigma {grid.sigma:.5f} and alpha {grid.alpha:.4f}. The published strength {published.SHARPENING_L1[1]} "
        f"is entry {grid.place[1]} of the strengths of the l2 search (0.40 to 0.60): {slip:.4f}. The minimum at the "
        f"exact DC offset is at sigma {float(best.sigma[6, 0]):.4f} and alpha {float(best.alpha[6]):.4f}.",
        "sum |K - N|, offset of the notebook",
        float(_sharpened_norm(study, *published.SHARPENING_L1, 1)),
        grid.value,
    )


def _l2_strength(study: Study) -> Convention:
    best = study.fits["published", "D1"]
    grid = _grid_minimum(study, 2)
    sigma, alpha = published.SHARPENING_L2
    low, high = (_strength_at_offset(study, published.DC_OFFSET["7"] + shift) for shift in (5e-6, -5e-6))
    return Convention(
        "The l2 strength of filter 7 is a node of a grid, and depends on the fifth decimal of a DC offset",
        "7",
        f"The published pair ({sigma}, {alpha}) is node {grid.place} of the notebook's grid, sigma {grid.sigma:.4f} "
        f"and alpha {grid.alpha:.4f}, at its DC offset {published.NOTEBOOK_OFFSET_7}. The optimum at the exact offset "
        f"{study.dc_offset['7']:.6f} has the strength {float(best.alpha[6]):.4f}; offsets that round to the published "
        f"{published.DC_OFFSET['7']} give strengths from {min(low, high):.4f} to {max(low, high):.4f}.",
        "|K - N|",
        float(norm_at(study, 6, sigma, alpha, 2)),
        float(study.objective("D1")[6]),
    )


@dataclass(frozen=True)
class _Node:
    """A node of a grid over scale and strength, and the value there."""

    place: tuple[int, int]
    sigma: float
    alpha: float
    value: float


def _grid_minimum(study: Study, norm: int) -> _Node:
    """Repeat the search of the notebook for filter 7: the node where the l1 or l2 objective is least."""
    sigmas, alphas = _nodes(published.SHARPENING_SIGMAS), _nodes(published.SHARPENING_ALPHAS[norm])
    values = _sharpened_norm(study, sigmas[:, None], alphas, norm)
    row, column = divmod(int(values.argmin()), published.NODES)
    return _Node((row, column), float(sigmas[row]), float(alphas[column]), float(values[row, column]))


def _nodes(ends: tuple[float, float]) -> Tensor:
    return torch.linspace(*ends, published.NODES, dtype=torch.float64)


def _sharpened_norm(study: Study, sigma: Tensor | float, alpha: Tensor | float, norm: int) -> Tensor:
    """Return the norm of ``K - N`` for filter 7 at the DC offset of the notebook."""
    shifted = study.filters[6] - published.NOTEBOOK_OFFSET_7
    scales, strengths = torch.broadcast_tensors(*(torch.as_tensor(one, dtype=torch.float64) for one in (sigma, alpha)))
    kernels = template("sharpen", torch.stack([scales, scales], dim=-1), 7, alpha=strengths, window="published")
    difference = (kernels - shifted / shifted.sum()).flatten(-2)
    value: Tensor = torch.linalg.vector_norm(difference, ord=norm, dim=-1)
    return value


def _strength_at_offset(study: Study, offset: float) -> float:
    """Best strength of filter 7 in l2 for a given DC offset; at a given scale the strength is a linear unknown."""
    shifted = study.filters[6] - offset
    target = (shifted / shifted.sum()).flatten()
    sigmas = torch.linspace(0.5, 0.9, _SIGMAS, dtype=torch.float64)
    value, strength = _best_weight(target, *_impulse_and_change(sigmas))
    return float(strength[value.argmin()])


def _impulse_and_change(sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the impulse of filter 7's model, and what a strength of 1 adds to it, at each scale: (scales, taps)."""
    pairs = torch.stack([sigmas, sigmas], dim=-1)
    impulse, full = (template("sharpen", pairs, 7, alpha=a, window="published").flatten(1) for a in (0.0, 1.0))
    return impulse, full - impulse


def _best_weight(target: Tensor, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """Norm of ``fixed + weight * moving - target`` at the best weight, and that weight, for each row."""
    rest = target - fixed
    weight = (rest * moving).sum(-1) / moving.square().sum(-1)
    return torch.linalg.vector_norm(rest - weight[:, None] * moving, dim=-1), weight


def _upside_down(study: Study, index: int, other: str) -> Convention:
    own, name = study.families[index], study.names[index]
    swapped = fit(study.filters[index], other, normalization="moment", window="published")
    error = float(swapped.residual_l2[0] / torch.linalg.vector_norm(study.filters[index]))
    return Convention(
        f"Filter {name} upside down",
        name,
        f"The published network code lets the y axis point down where the fits let it point up, so filters 1 and 3 "
        f"trade places; filter {name} is {own}, and as {other} it leaves more.",
        "|K - N| / |N|, l2, per axis",
        error,
        float(study.relative_error("D1")[index]),
    )


def _smoothed_impulse(study: Study) -> Convention:
    target = moment_normalization(study.filters[6], "sharpen").filters.flatten()
    sigmas = torch.linspace(0.0, 1.5, _SIGMAS, dtype=torch.float64)
    pairs = torch.stack([sigmas, sigmas], dim=-1)
    smooth = template("smooth", pairs, 7, window="published").flatten(1)
    _, change = _impulse_and_change(sigmas)
    values, weights = _best_weight(target, smooth, change)
    best = int(values.argmin())
    fitted = study.fits["published", "D1"]
    sigma, alpha = fitted.sigma[6, 0], float(fitted.alpha[6])
    place = int((sigmas - sigma).abs().argmin())
    mixed = smooth[place] + alpha * change[place]
    return Convention(
        "A smoothed impulse in the model of filter 7",
        "7",
        "The paper's model is impulse - alpha L5 T, and the published network code has T - gamma L5 T instead, so that "
        "the paper's scale and strength make another filter there. (At an optimum of its own, sigma "
        f"{float(sigmas[best]):.3f} and gamma {float(weights[best]):.3f}, that form leaves {float(values[best]):.4f}.)",
        "|K - N|",
        float(torch.linalg.vector_norm(mixed - target)),
        float(study.objective("D1")[6]),
    )


def _sampled(study: Study) -> Convention:
    sigma = float(study.fits["published", "D2"].sigma[3, 0])
    t = torch.tensor(sigma**2, dtype=torch.float64)
    n = torch.arange(-8, 9, dtype=torch.float64)
    sampled = sampled_gaussian(t, 8)
    variance = float((sampled * n.square()).sum() / sampled.sum())
    target = moment_normalization(study.filters[3], "dx+").filters
    errors = [
        float(torch.linalg.vector_norm(_forward_in_x(kernel) - target)) for kernel in (sampled, discrete_gaussian(t, 8))
    ]
    return Convention(
        "Scales that are learned on the sampled Gaussian",
        "4",
        "The published network code learns scales on samples of the continuous Gaussian, whose variance at sigma "
        f"{sigma:.2f} is {variance:.3f} where sigma squared is {float(t):.3f}; the discrete analogue has variance "
        f"{float(t):.3f} exactly. At the common scale of filter 4 the same sigma gives another filter.",
        "|K - N|",
        errors[0],
        errors[1],
    )


def _forward_in_x(kernel: Tensor) -> Tensor:
    """Model of filter 4 from a wide kernel: the forward difference in x, smoothed in y, on 7 x 7."""
    middle = len(kernel) // 2
    along_x = difference(kernel, FORWARD)[middle - 4 : middle + 3]
    return torch.outer(kernel[middle - 3 : middle + 4], along_x)


def _zeroed_borders(study: Study) -> Convention:
    sigma = study.fits["exact", "D1"].sigma[4]
    row, column = (discrete_gaussian(value, 3) for value in sigma.square())
    padded = torch.nn.functional.pad(row, (1, 1))
    zeroed = torch.outer(column, (padded[2:] - padded[:-2]) / 2)
    exact = template("dx", sigma, 7)
    return Convention(
        "Differences with zeroed borders",
        "5",
        "The published network code takes differences inside the window with zeros outside, the exact way takes them "
        "before cropping. At the scales of filter 5 in the exact window the two templates differ a little, in the "
        "outermost columns; with larger scales they differ more.",
        "distance to the exact template, of its norm",
        float(torch.linalg.vector_norm(zeroed - exact) / torch.linalg.vector_norm(exact)),
        0.0,
    )
