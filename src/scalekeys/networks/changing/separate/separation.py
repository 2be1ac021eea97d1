"""What came out of computing layers axis by axis."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from scalekeys.networks.changing.separate.timing import Times
from scalekeys.shapes import Size, size_text


@dataclass(frozen=True)
class SeparatedLayer:
    """One layer that is computed axis by axis.

    `kernel_size`: the sides of its kernels, in the order of the array.
    `rank`: the number of outer products that take the place of each kernel.
    `energy`: the share of the energy of the kernels that is lost.
    `error`: the share of the variance of the responses that is lost; None where what the layer sees is not known.
    `before`, `after`: milliseconds in one pass, in the layer and in its separable form; None where no times were asked
    for.
    `numbers`: weights before and now.
    """

    layer: str
    kernel_size: Size
    rank: int
    energy: float
    error: float | None
    before: float | None
    after: float | None
    numbers: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Separation:
    """A network some of whose depthwise layers are computed axis by axis.

    Parameters
    ----------
    module : nn.Module
        A copy, in which :class:`~scalekeys.networks.changing.separate.separable_conv.SeparableConv` stands in the place
        of these layers.
    layers : tuple of SeparatedLayer
        In the order of the network.
    left : dict of str to str
        The other depthwise layers, and why they are as they were, as a clause on the layer.
    numbers : tuple of (int, int)
        Depthwise weights before and now.
    multiplications : tuple of (int, int) or None
        Of the network for one input; None without an example.
    runtime : str or None
        Where times were measured.
    times : Times or None
        Of the network; None where no layer is separated, or no times were asked for.
    """

    module: nn.Module
    layers: tuple[SeparatedLayer, ...]
    left: Mapping[str, str]
    numbers: tuple[int, int]
    multiplications: tuple[int, int] | None
    runtime: str | None
    times: Times | None

    def __repr__(self) -> str:
        told = ", ".join(f"{one.layer} {size_text(one.kernel_size)} by {one.rank}" for one in self.layers)
        faster = "" if self.times is None else f", {self.times.ratio:.2f} of the time in {self.runtime}"
        return f"Separation({told or 'no layer'}: {self.numbers[0]} depthwise weights to {self.numbers[1]}{faster})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the network as plain values, for JSON."""
        return {
            "layers": [asdict(one) for one in self.layers],
            "left": dict(self.left),
            "numbers": list(self.numbers),
            "multiplications": None if self.multiplications is None else list(self.multiplications),
            "runtime": self.runtime,
            "times": None if self.times is None else asdict(self.times),
        }
