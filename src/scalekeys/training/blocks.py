"""Which block of a network a parameter belongs to, told by its depthwise layers."""

from collections.abc import Iterator

from torch import nn

from scalekeys.checkpoints.sources.module import open_module

HEAD = -1
"""The block of what comes after the last depthwise layer."""


def block_names(network: nn.Module) -> dict[str, int]:
    """Return the number of a block for each tensor: 0 for the stem, from 1 on by depthwise layers, or :data:`HEAD`.

    What stands between two blocks belongs to the later one, as in the layer decay of ConvNeXt.

    `network`: its modules stand in the order in which they run.
    Returns numbers by the names of parameters and buffers.

    >>> from scalekeys.training.cifar_convnext import CifarConvNeXt
    >>> blocks = block_names(CifarConvNeXt(10, widths=(8, 16), depths=(1, 1)))
    >>> names = ("stem.0", "stages.0.0.expand", "stages.1.1", "stages.1.2.expand", "head")
    >>> [blocks[f"{name}.weight"] for name in names]
    [0, 1, 2, 2, -1]
    """
    layers = [layer.key.rpartition(".")[0] for layer in open_module(network).layers]
    homes = [layer.rpartition(".")[0] for layer in layers]
    names = [name for name, _ in _named_tensors(network)]
    last_of_all = max((index for index, name in enumerate(names) if _within(name, homes[-1:])), default=-1)
    numbers, seen = {}, 0
    for index, name in enumerate(names):
        while seen < len(homes) and _within(name, homes[seen : seen + 1]):
            seen += 1
        if index > last_of_all and homes:
            numbers[name] = HEAD
        elif seen and _within(name, homes[seen - 1 : seen]):
            numbers[name] = seen
        else:
            numbers[name] = seen + 1 if seen else 0
    return numbers


def _within(name: str, homes: list[str]) -> bool:
    return any(name.startswith(f"{home}." if home else "") for home in homes)


def _named_tensors(network: nn.Module) -> Iterator[tuple[str, object]]:
    """Give parameters and buffers in the order of the modules."""
    for prefix, module in network.named_modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                yield f"{prefix}.{name}" if prefix else name, tensor
