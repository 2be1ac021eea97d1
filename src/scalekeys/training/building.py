"""Networks by name, with the weights that they start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalekeys.checkpoints import open_source
from scalekeys.checkpoints.loading import keys_by_name
from scalekeys.checkpoints.sources.builtin import CIFAR_CONVNEXT
from scalekeys.checkpoints.sources.hubs import create_timm
from scalekeys.errors import CheckpointError, RecipeError
from scalekeys.networks import bake
from scalekeys.optional import first_line, in_short, require
from scalekeys.training.blocks import HEAD, block_names
from scalekeys.training.cifar_convnext import CifarConvNeXt
from scalekeys.training.recipe import Network

OWN = "cifar-convnext"
TRAINED = "network.safetensors"
"""What a training calls the file of its weights."""


def build(wanted: Network, classes: int, size: int) -> nn.Module:
    """Build a network, with the weights of the hub or of a checkpoint if the recipe names them.

    Its other weights come from the global generator of torch.

    Raises
    ------
    RecipeError
        If there is no such network, or it takes other images.
    CheckpointError
        If the weights cannot be read or do not fit.
    """
    network = _named(wanted, classes)
    if wanted.checkpoint is not None:
        load_weights(network, Path(wanted.checkpoint), wanted.weights)
    _try(network, wanted.name, classes, size)
    return network


def _named(wanted: Network, classes: int) -> nn.Module:
    scheme, colon, name = wanted.name.partition(":")
    if wanted.name == OWN:
        if len(wanted.widths) != len(wanted.depths) or not wanted.widths or wanted.kernel % 2 == 0:
            raise RecipeError(
                "network: widths and depths need one number for each stage, and kernel an odd one; got "
                f"{list(wanted.widths)}, {list(wanted.depths)} and {wanted.kernel}"
            )
        network = CifarConvNeXt(classes, wanted.widths, wanted.depths, wanted.kernel, wanted.drop_path, wanted.patch)
        if wanted.pretrained:
            load_weights(network, CIFAR_CONVNEXT, None)
        return network
    if colon and scheme == "timm":
        return _of_timm(name, wanted, classes)
    if colon and scheme == "hf":
        return _of_hub(name, wanted, classes)
    raise RecipeError(f"network.name: {wanted.name!r} is no network; give {OWN}, timm:NAME or hf:NAME")


def _of_timm(name: str, wanted: Network, classes: int) -> nn.Module:
    try:
        return create_timm(name, pretrained=wanted.pretrained, num_classes=classes, drop_path_rate=wanted.drop_path)
    except CheckpointError as error:
        raise RecipeError(f"network.name: {error}") from error


class _Logits(nn.Module):
    """A classifier of transformers as a function from images to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images).logits
        return logits


def _of_hub(name: str, wanted: Network, classes: int) -> nn.Module:
    transformers = require("transformers", extra="transformers")
    auto = transformers.AutoModelForImageClassification
    try:
        config = transformers.AutoConfig.from_pretrained(name, num_labels=classes)
        if hasattr(config, "drop_path_rate"):
            config.drop_path_rate = wanted.drop_path
        if not wanted.pretrained:
            return _Logits(auto.from_config(config))
        return _Logits(auto.from_pretrained(name, config=config, ignore_mismatched_sizes=True, use_safetensors=True))
    except Exception as error:  # the hub client and the network have no common class
        raise RecipeError(f"network.name: hf:{name} cannot be made ({in_short(error)})") from error


def load_weights(network: nn.Module, path: Path, weights: str | None = None) -> None:
    """Load a file of weights, or the folder of a training, into a network.

    What the network lacks is passed over. Its head keeps its own weights where the file has none that fit.

    Raises CheckpointError if anything before the head is missing or has another shape.
    """
    if (path / TRAINED).is_file():
        path = path / TRAINED
    source = open_source(path, weights=weights)
    wanted, blocks = network.state_dict(), block_names(network)
    keys = keys_by_name(source, wanted)
    fitting, missing = {}, []
    for name, value in wanted.items():
        key = keys.get(name)
        if key is not None and tuple(source.tensors[key].shape) == tuple(value.shape):
            fitting[name] = source.load(key)
        elif blocks.get(name) != HEAD:
            missing.append(name)
    if missing:
        raise CheckpointError(
            f"{path}: has no weights for {len(missing)} of {len(wanted)} tensors of the network, {missing[0]!r} the "
            "first; give the checkpoint of a network of the same name and size"
        )
    network.load_state_dict(wanted | fitting)


@torch.no_grad()
def _try(network: nn.Module, name: str, classes: int, size: int) -> None:
    """Run a network once, so that one that does not fit the images is refused before anything else."""
    network.eval()
    try:
        output: Any = network(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RecipeError(
            f"network.name: {name} does not take images of {size} x {size} pixels ({first_line(error)})"
        ) from error
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != (1, classes):
        raise RecipeError(
            f"network.name: {name} gives {shape} for an image, not one number for each of {classes} classes"
        )
    network.train()


def trained_weights(network: nn.Module) -> Mapping[str, Tensor]:
    """Return the weights of a network to write into a file; what is computed from scales becomes plain."""
    return {name: value.detach().cpu().contiguous() for name, value in bake(network).state_dict().items()}
