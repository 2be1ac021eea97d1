"""The configuration of a Keras model: its layers in their order, and where their weights stand in a file."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalekeys.errors import CheckpointError

_DEEPEST = 40


@dataclass(frozen=True)
class LayerConfig:
    """A layer of a configuration."""

    name: str
    class_name: str
    """`name` and `class_name`: what the user and what Keras calls it."""
    settings: Mapping[str, Any] = field(repr=False)
    """Its arguments."""
    order: int
    """Its place among the layers of the model."""
    path: tuple[str, ...]
    """Where version 3 of Keras stores its weights."""

    @property
    def groups(self) -> int:
        """Number of groups of an ordinary convolution."""
        groups = self.settings.get("groups", 1)
        return groups if isinstance(groups, int) else 1

    @property
    def stride(self) -> tuple[int, ...] | None:
        """Stride along the axes, None where it is not said."""
        return _sides(self.settings.get("strides", self.settings.get("subsample")))

    @property
    def dilation(self) -> tuple[int, ...] | None:
        """Dilation along the axes, None where it is not said."""
        return _sides(self.settings.get("dilation_rate", self.settings.get("atrous_rate", 1)))


def layers_of(config: Any, path: Path) -> tuple[LayerConfig, ...]:
    """Return the layers of a configuration, those of nested models among them; none where there is no configuration.

    `config`: JSON, or what has been read of it.
    Raises CheckpointError if it is no JSON object, or nested without end.
    """
    if not config:
        return ()
    try:
        root = json.loads(config) if isinstance(config, bytes | str) else config
        found = list(_layers(root, (), _DEEPEST))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the configuration of its model is damaged ({error}); save it again") from None
    return tuple(
        LayerConfig(name, class_name, settings, order, place)
        for order, (name, class_name, settings, place) in enumerate(found)
    )


_Found = tuple[str, str, Mapping[str, Any], tuple[str, ...]]


def _layers(node: Any, path: tuple[str, ...], deepest: int) -> Iterator[_Found]:
    """Yield a described object and all that are described in its arguments."""
    if deepest == 0:
        raise ValueError("its models are nested too deep")
    if not isinstance(node, dict) or not isinstance(class_name := node.get("class_name"), str):
        return
    settings = node.get("config")
    if isinstance(settings, list):  # a sequential model of the first versions
        settings = {"layers": settings}
    if not isinstance(settings, dict):
        return
    name = settings.get("name", node.get("name"))
    if isinstance(name, str) and not class_name.endswith("Policy"):  # the names of policies are types
        yield name, class_name, settings, path
    for key, value in settings.items():
        if isinstance(value, list):
            counts: dict[str, int] = {}
            for part in value:
                yield from _layers(part, (*path, key, _numbered(part, counts)), deepest - 1)
        else:
            yield from _layers(value, (*path, key), deepest - 1)


def _numbered(node: Any, counts: dict[str, int]) -> str:
    """Return what version 3 of Keras calls a layer in a list: its class, and a number from the second on."""
    name = snake_case(str(node.get("class_name"))) if isinstance(node, dict) else ""
    counts[name] = counts.get(name, -1) + 1
    return f"{name}_{counts[name]}" if counts[name] else name


def snake_case(name: str) -> str:
    """Return the name of a class as Keras writes it into paths.

    >>> snake_case("SeparableConv2D"), snake_case("MyBlock")
    ('separable_conv2d', 'my_block')
    """
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _sides(value: Any) -> tuple[int, ...] | None:
    sides = value if isinstance(value, list) else [value]
    if not 1 <= len(sides) <= 3 or not all(isinstance(side, int) and 0 < side < 2**31 for side in sides):
        return None
    return tuple(sides)
