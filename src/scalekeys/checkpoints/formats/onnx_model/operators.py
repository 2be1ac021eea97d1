"""The table of convolution operators: an operator is its domain and its name together."""

from dataclasses import dataclass
from typing import Literal

from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError

NCHWC = "com.microsoft.nchwc"
"""Domain of the operators of onnxruntime that take weights in blocks of channels."""


@dataclass(frozen=True)
class Operator:
    """What a convolution operator does with its weight."""

    weight: int = 1
    """Which input it is."""
    scale: int | None = None
    zero_point: int | None = None
    """`scale` and `zero_point`: which inputs say what the integers of a quantised weight stand for."""
    layout: Literal["oihw", "ohwi", "blocks"] = "oihw"
    """How filters stand in the weight: `oihw` (outputs, inputs of a group, rows, cols), `ohwi` with the inputs last,
    `blocks` as onnxruntime reorders them for its CPU."""
    transposed: bool = False
    """Whether it is a transposed convolution, whose weight has the inputs first."""
    unread: str = ""
    """Why its filters are never read; empty where they are."""


_PLAIN = Operator()
_TRANSPOSED = Operator(transposed=True)
_QUANTISED = Operator(3, scale=4, zero_point=5)
_OPERATORS = {
    ("", "Conv"): _PLAIN,
    ("", "ConvTranspose"): _TRANSPOSED,
    ("", "ConvInteger"): Operator(zero_point=3),
    ("", "QLinearConv"): _QUANTISED,
    ("", "DeformConv"): Operator(unread="the taps of a DeformConv move with its input"),
    ("com.microsoft", "FusedConv"): _PLAIN,
    ("com.microsoft", "NhwcFusedConv"): _PLAIN,
    ("com.microsoft", "NhwcConv"): Operator(layout="ohwi"),
    ("com.microsoft", "QLinearConv"): _QUANTISED,
    ("com.microsoft", "ConvTransposeWithDynamicPads"): _TRANSPOSED,
    (NCHWC, "Conv"): Operator(layout="blocks"),
    ("com.ms.internal.nhwc", "Conv"): _PLAIN,
    ("com.ms.internal.nhwc", "ConvTranspose"): _TRANSPOSED,
    ("com.ms.internal.nhwc", "QLinearConv"): _QUANTISED,
}
_KNOWN_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.")
_ONE_VERSION = ("com.microsoft", NCHWC)


def is_convolution(node: Node) -> bool:
    """Tell whether a node is a convolution, or may be one by its name."""
    name = node.op.lower()
    return (node.domain, node.op) in _OPERATORS or ("conv" in name and "convert" not in name)


def is_foreign(node: Node) -> bool:
    """Tell whether an operator is neither of ONNX nor of onnxruntime."""
    return bool(node.domain) and not node.domain.startswith(_KNOWN_DOMAINS)


def operator_of(node: Node, version: int) -> Operator:
    """Return what is known of the operator of a convolution, in some version of the operators of its domain.

    ONNX itself numbers all its operators together and has never changed what the weight of a convolution is; the
    operators of onnxruntime have one version.

    Raises NotReadError if nothing is.
    """
    operator = _OPERATORS.get((node.domain, node.op))
    if operator is None or (node.domain in _ONE_VERSION and version != 1):
        where = f"the domain {node.domain or 'ai.onnx'!r} in version {version}"
        raise NotReadError(f"the operator {node.op!r} of {where} is not known")
    return operator
