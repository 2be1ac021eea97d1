"""The names of layers of TensorFlow, from those of the tensors that a converter has written."""

import re

_ANONYMOUS = re.compile(r"(tfl|arith|std|stablehlo)\.[\w.]*|(const(ant)?|cst)?_?\d*", re.IGNORECASE)
_TAIL = re.compile(
    r"(((/separable_conv2d)?/depthwise(_(kernel|weights?))?|/((Depthwise)?Conv2[Dd](Native)?|convolution|[Kk]ernel|weights?)"
    r"|\.weight)[_:]?\d*"
    r"(/(read|ReadVariableOp|resource)[_:]?\d*)*|(/(read|ReadVariableOp|resource)[_:]?\d*)+)(_dequantize)?\Z"
)
_LONGEST_TAIL = 400  # letters: the time for finding a tail grows with their square
_DEPTHWISE_TAIL = re.compile(r".*/depthwise[^/]*(/read|/readvariableop)?", re.IGNORECASE | re.DOTALL)


def clean_name(name: str) -> str:
    """Return the name of a layer from that of its tensor; empty where the converter has made the name up.

    Converters that join operators join their names with semicolons, and that of the convolution is among them.

    >>> clean_name("net/bn_1/FusedBatchNormV3;net/depthwise_conv2d_1/depthwise;net/depthwise_conv2d_1/BiasAdd")
    'net/depthwise_conv2d_1'
    >>> clean_name("MobilenetV1/Conv2d_1_depthwise/depthwise_weights/read"), clean_name("tfl.pseudo_qconst12")
    ('MobilenetV1/Conv2d_1_depthwise', '')
    >>> clean_name("depthwise_conv2d_1/Kernel"), clean_name("depthwise_conv2d_1/Kernel_dequantize")
    ('depthwise_conv2d_1', 'depthwise_conv2d_1')
    """
    parts = [part for part in name.split(";") if not _ANONYMOUS.fullmatch(part)]
    chosen = next((part for part in parts if _DEPTHWISE_TAIL.fullmatch(part)), parts[0] if parts else "")
    return chosen[:-_LONGEST_TAIL] + _TAIL.sub("", chosen[-_LONGEST_TAIL:]) or chosen
