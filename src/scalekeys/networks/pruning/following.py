"""Which channels of the tensors of a network belong together, which are constant, and what uses them.

Every operation that keeps channels apart ties the channels of its inputs to those of its output. A convolution or a
linear layer that sums over channels uses them, and gives new ones. What no rule knows uses all channels as they are.
"""

from collections.abc import Callable

from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning import layer_rules as layers
from scalekeys.networks.pruning import tensor_rules as tensors
from scalekeys.networks.pruning.channels import Channels, unknown
from scalekeys.networks.pruning.exported import Exported, operation, shape


def channels_of(graph: Exported, constants: dict[str, Tensor]) -> Channels:
    """Follow the channels of a network through its operations.

    `constants`: see :class:`Channels`.
    """
    channels = Channels(graph, constants)
    for node in graph.nodes:
        if operation(node) == "output":
            channels.pin(node, "the channel is an output of the network")
            continue
        rule = _RULES.get(operation(node))
        reason = unknown(node) if rule is None or shape(node) is None else rule(channels, node)
        if reason is not None:
            channels.pin(node, reason)
    return channels


_ELEMENTWISE = (
    "relu relu6 hardtanh silu gelu sigmoid hardsigmoid hardswish tanh leaky_relu elu selu celu mish softplus clamp "
    "clamp_min clamp_max abs exp neg sqrt square pow add sub rsub mul div"
)
_SAME = "dropout feature_dropout clone contiguous to _to_copy alias detach"
_WITHIN = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d pad constant_pad_nd"
)
_RESHAPES = "view reshape flatten squeeze unsqueeze _unsafe_view"
_RULES: dict[str, Callable[[Channels, Node], str | None]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), tensors.elementwise),
    **dict.fromkeys(_SAME.split(), tensors.same),
    **dict.fromkeys(_WITHIN.split(), tensors.pooling),
    **dict.fromkeys(_RESHAPES.split(), tensors.reshape),
    **dict.fromkeys(("permute", "transpose"), tensors.permute),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), layers.convolution),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), layers.normalization),
    "linear": layers.linear,
    "batch_norm": layers.batch_norm,
    "prelu": layers.prelu,
    "mean": tensors.mean,
    "cat": tensors.concatenation,
}
