"""Filters of several sizes in one window, and the symmetries of a window with equal sides."""

from itertools import permutations
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.clustering.spec import ClusterSpec
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.filters.window import cropped, padded
from scalekeys.shapes import Size, size_text


def window_for(sizes: tuple[Size, ...], spec: ClusterSpec) -> Size:
    """Return the window in which filters of some sizes are compared.

    `sizes`: the sizes that occur, all with as many axes.
    Raises FilterError if an exact size was asked for that no layer has, or the window has no more than one tap;
    ModelError if the sides of an exact size differ where filters count up to quarter turns.

    Along an axis on which the sides are all odd, or all even, the window has the largest of them (or the smallest), and
    the centres of all filters coincide. On an axis with odd and even sides its side is odd, and the centre of an even
    side is the tap before its middle.

    >>> window_for(((7, 7), (4, 4)), ClusterSpec(sizes="common"))
    (3, 3)
    >>> window_for(((4,), (16,)), ClusterSpec(sizes="largest"))
    (16,)
    """
    if not isinstance(spec.sizes, str):
        if spec.sizes not in sizes:
            there = ", ".join(map(size_text, sorted(sizes, reverse=True)))
            raise FilterError(f"no layer has kernels of {size_text(spec.sizes)}; the sizes are {there}")
        window = spec.sizes
        if spec.symmetry == "dihedral" and len(set(window)) > 1:
            raise ModelError(
                f"kernels of {size_text(window)} have no quarter turns, so symmetry='dihedral' is not for them"
            )
    else:
        window = _common_window(sizes, spec)
    if prod(window) < 2:
        raise FilterError(
            f"a window of {size_text(window)} holds no filter with a shape; choose sizes='largest' or one size"
        )
    return window


def _common_window(sizes: tuple[Size, ...], spec: ClusterSpec) -> Size:
    along = [set(sides) for sides in zip(*sizes, strict=True)]
    if spec.symmetry == "dihedral":
        along = [set().union(*along)] * len(along)
    pick, step = (max, 1) if spec.sizes == "largest" else (min, -1)
    return tuple(
        pick(sides) if len({side % 2 for side in sides}) == 1 or pick(sides) % 2 else pick(sides) + step
        for sides in along
    )


def unit_rows(
    filters: Float[Tensor, "filters *sides"], window: Size
) -> tuple[Float[Tensor, "filters taps"], Float[Tensor, "filters"]]:
    """Return filters as centred unit vectors in a window, and their centred norms.

    A filter is cropped, centred on its own taps and then padded, so that its offset does not matter. A filter that is
    constant or not finite becomes a vector of zeros with norm 0.
    """
    inside, exponent = in_powers_of_two(cropped(filters, window), axes=len(window))
    flat = inside.flatten(1)
    usable = flat.isfinite().all(-1) & (flat.amax(-1) > flat.amin(-1))
    finite = torch.where(usable[:, None], flat, 0.0)
    centred = finite - finite.mean(-1, keepdim=True)
    norm = torch.where(usable, torch.linalg.vector_norm(centred, dim=-1), 0.0)
    rows = centred / torch.where(norm > 0, norm, 1.0)[:, None]
    return padded(rows.view(inside.shape), window).flatten(1), norm * power_of_two(exponent)


def symmetries(window: Size, symmetry: str) -> Int[Tensor, "transforms taps"]:
    """Return for each symmetry which tap of a filter stands where after it.

    `window`: its sides are equal, unless there is no symmetry.
    Returns a tensor of shape (transforms, taps): without symmetry there is only number 0, which does nothing. On one
    axis number 1 mirrors a filter. On two axes number t turns it by t quarter turns against the clock, as
    ``torch.rot90`` does; from 4 on it is mirrored left to right before it is turned ``t - 4`` times. On three axes
    number 8 p + m puts the axes in the order of permutation p, as ``itertools.permutations`` lists them, and then
    mirrors those dimensions d for which bit d of m is set.

    >>> symmetries((3, 3), "dihedral")[4].tolist()
    [2, 1, 0, 5, 4, 3, 8, 7, 6]
    >>> symmetries((4,), "dihedral").tolist(), len(symmetries((3, 3, 3), "dihedral"))
    ([[0, 1, 2, 3], [3, 2, 1, 0]], 48)
    """
    taps, axes = torch.arange(prod(window)).view(window), range(len(window))
    if symmetry == "none":
        return taps.view(1, -1)
    if len(window) == 2:
        return torch.stack([torch.rot90(t, turns).flatten() for t in (taps, taps.flip(-1)) for turns in range(4)])
    mirrored = [[axis for axis in axes if bits >> axis & 1] for bits in range(2 ** len(window))]
    return torch.stack([taps.permute(order).flip(some).flatten() for order in permutations(axes) for some in mirrored])
