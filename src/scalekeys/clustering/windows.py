"""Filters of several sizes in one window, and the symmetries of a square window."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.clustering.spec import ClusterSpec
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.filters.window import Size, cropped, padded


def window_for(sizes: tuple[Size, ...], spec: ClusterSpec) -> Size:
    """Return the window in which filters of some sizes are compared.

    Parameters
    ----------
    sizes : tuple of (rows, cols)
        The sizes that occur.
    spec : ClusterSpec

    Raises
    ------
    FilterError
        If an exact size was asked for that no layer has, or the window has no more than one tap.
    ModelError
        If an exact size is not square where filters count up to quarter turns.

    Examples
    --------
    >>> window_for(((7, 7), (4, 4)), ClusterSpec(sizes="common"))
    (3, 3)
    >>> window_for(((1, 7), (7, 1)), ClusterSpec(sizes="largest"))
    (7, 7)
    """
    if not isinstance(spec.sizes, str):
        if spec.sizes not in sizes:
            there = ", ".join(map(by, sorted(sizes, reverse=True)))
            raise FilterError(f"no layer has kernels of {by(spec.sizes)}; the sizes are {there}")
        window = spec.sizes
        if spec.symmetry == "dihedral" and window[0] != window[1]:
            raise ModelError(f"kernels of {by(window)} have no quarter turns, so symmetry='dihedral' is not for them")
    else:
        window = _common_window(sizes, spec)
    if window[0] * window[1] < 2:
        raise FilterError(f"a window of {by(window)} holds no filter with a shape; choose sizes='largest' or one size")
    return window


def _common_window(sizes: tuple[Size, ...], spec: ClusterSpec) -> Size:
    pick, step = (max, 1) if spec.sizes == "largest" else (min, -1)
    rows, cols = pick(size[0] for size in sizes), pick(size[1] for size in sizes)
    if spec.symmetry == "dihedral":
        rows = cols = pick(rows, cols)
    if len(set(sizes)) == 1 and (rows, cols) == sizes[0]:
        return sizes[0]
    return rows + step * (rows % 2 == 0), cols + step * (cols % 2 == 0)


def by(size: Size) -> str:
    """Write a size as 7x7."""
    return f"{size[0]}x{size[1]}"


def unit_rows(
    filters: Float[Tensor, "filters rows cols"], window: Size
) -> tuple[Float[Tensor, "filters taps"], Float[Tensor, "filters"]]:
    """Return filters as centred unit vectors in a window, and their centred norms.

    A filter is cropped, centred on its own taps and then padded, so that its offset does not matter. A filter that is
    constant or not finite becomes a vector of zeros with norm 0.
    """
    inside, exponent = in_powers_of_two(cropped(filters, window))
    flat = inside.flatten(1)
    usable = flat.isfinite().all(-1) & (flat.amax(-1) > flat.amin(-1))
    finite = torch.where(usable[:, None], flat, 0.0)
    centred = finite - finite.mean(-1, keepdim=True)
    norm = torch.where(usable, torch.linalg.vector_norm(centred, dim=-1), 0.0)
    rows = centred / torch.where(norm > 0, norm, 1.0)[:, None]
    return padded(rows.view(inside.shape), window).flatten(1), norm * power_of_two(exponent)


def symmetries(window: Size, symmetry: str) -> Int[Tensor, "transforms taps"]:
    """Return for each symmetry which tap of a filter stands where after it.

    Number t turns a filter by t quarter turns against the clock, as ``torch.rot90`` does; from 4 on it is mirrored left
    to right before it is turned ``t - 4`` times. Without symmetry there is only number 0, which does nothing.

    Examples
    --------
    >>> symmetries((3, 3), "dihedral")[4].tolist()
    [2, 1, 0, 5, 4, 3, 8, 7, 6]
    """
    taps = torch.arange(window[0] * window[1]).view(window)
    if symmetry == "none":
        return taps.view(1, -1)
    return torch.stack([torch.rot90(t, turns).flatten() for t in (taps, taps.flip(-1)) for turns in range(4)])
