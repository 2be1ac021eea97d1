"""From what a pickle holds to nested dicts of tensors: arrays, dicts of own classes, and whole pickled modules."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch

from scalekeys.checkpoints.core.inventory import DISTRIBUTED, Lazy, Unmade
from scalekeys.checkpoints.core.naming import names_a_weight
from scalekeys.checkpoints.core.nesting import as_tree, entries
from scalekeys.checkpoints.core.refused import LAZY, Refused
from scalekeys.checkpoints.formats.pickled.arrays import Array
from scalekeys.checkpoints.formats.pickled.machine import PickleError
from scalekeys.checkpoints.formats.pickled.reading import refusal
from scalekeys.checkpoints.formats.pickled.stand_ins import StandIn
from scalekeys.checkpoints.formats.pickled.torch_tensors import as_tensor
from scalekeys.checkpoints.formats.stored.tensors import Quantised, Stored

_DEEPEST = 64
_SCALES = "w_scales"
"""What the training code of MCUNet calls the scales of a weight of int8, one for each output channel."""
_MOST_MODULES = 1 << 17
_OF_MODULES = {"_parameters", "_modules"}
_REASONS = {
    "torch.distributed._shard.sharded_tensor.api.ShardedTensor": DISTRIBUTED,
    "torch.nn.parameter.UninitializedParameter": LAZY,
}
"""Why weights of some classes are not read."""
_QUANTISED = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.")

Attributes: TypeAlias = dict[Any, Any]


def tree_of(content: Any, label: str) -> Any:
    """Return what a pickle holds as a training script could have saved it: a dict where there is anything to read.

    Objects of unknown classes are looked into where there are no weights outside them.

    Raises CheckpointError if modules hold one another without end.
    """
    try:
        return _made(content)
    except PickleError as error:
        raise refusal(label, error) from None


def _made(content: Any) -> Any:
    maker = _Maker()
    made = maker.make(content)
    if maker.passed_over and not _has_weights(made):
        within = _Maker(within_objects=True).make(content)
        return within if _has_weights(within) else made
    return made


def _has_weights(made: Any) -> bool:
    return isinstance(made, dict) and bool(entries(made))


class _Maker:
    """Walks through what a pickle holds; a dict that is met again is the same dict again.

    `within_objects`: whether dicts that are attributes of objects of unknown classes count as parts of these.
    """

    def __init__(self, *, within_objects: bool = False) -> None:
        self.within_objects, self.passed_over = within_objects, False
        self.made: dict[int, Any] = {}
        self.modules = 0

    def make(self, value: Any, level: int = 0) -> Any:
        if not isinstance(value, dict | list | tuple | StandIn | Array):
            return value
        if id(value) not in self.made:
            if isinstance(value, Array):
                return self.made.setdefault(id(value), as_tensor(value))
            if level > _DEEPEST:
                return None
            self.made[id(value)] = {} if isinstance(value, dict) else value if isinstance(value, StandIn) else None
            self.made[id(value)] = self._container(value, level + 1)
        return self.made[id(value)]

    def _container(self, value: Any, level: int) -> Any:
        if isinstance(value, dict):
            return self._dict(self.made[id(value)], value, level)
        if isinstance(value, list | tuple):
            return self._list(value, level)
        if (own := module_in(value)) is not None:
            return dict(self._state(own, "", 0))
        if value.items is not None:
            return self._dict({}, value.items, level)
        return self._object(value, level)

    def _object(self, value: StandIn, level: int) -> Any:
        """Return what an object of an unknown class holds, or the object where that is nothing to read."""
        held = {name: one for name, one in value.attributes.items() if _may_hold_modules(one)}
        if self.within_objects:  # the fields of a named tuple have no names in a file
            held = value.attributes or {str(place): one for place, one in enumerate(value.arguments)}
        made = {name: one for name, one in self._dict({}, held, level).items() if isinstance(one, dict) and one}
        self.passed_over |= not made
        return made or value

    def _dict(self, target: dict[Any, Any], source: dict[Any, Any], level: int) -> dict[Any, Any]:
        for name, value in source.items():
            target[name] = _as_weight(name, self.make(value, level))
        if _SCALES in target:
            self._scale(target)
        return target

    def _scale(self, layer: dict[Any, Any]) -> None:
        """Put what the integers of a quantised layer stand for in their place, as its scales lie beside them."""
        weight, scales = layer.get("weight"), layer[_SCALES]
        if not (isinstance(weight, Stored) and isinstance(scales, Stored) and scales.dtype.is_floating_point):
            return
        if weight.dtype == torch.int8 and weight.shape and scales.shape == weight.shape[:1]:
            layer["weight"] = Quantised(weight, scales, 0)

    def _list(self, values: Any, level: int) -> Any:
        """Name the dicts, modules and lists in a list by their numbers, such as the blocks of a network, if it has any.

        A list of names and tensors in pairs is a dict.
        """
        made = [self.make(value, level) for value in values]
        has_names = level > 1 or any(isinstance(one, dict | list) for one in made)  # a file of tensors alone has none
        tree = as_tree(made) if has_names else made
        if isinstance(tree, dict) or any(isinstance(one, Lazy) for one in made):
            return tree
        return {str(number): one for number, one in enumerate(made) if isinstance(one, dict)} or values

    def _state(self, own: Attributes, prefix: str, level: int) -> Iterator[tuple[str, Any]]:
        """Yield what ``state_dict`` of a module with these attributes would hold."""
        self.modules += 1
        if level > _DEEPEST or self.modules > _MOST_MODULES:
            raise PickleError("modules that hold one another without end")
        passing = own.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, set | frozenset | list) else ()
        for kind in ("_parameters", "_buffers"):
            for name, value in _named(own.get(kind)):
                made = _as_weight(name, self.make(value, _DEEPEST))
                if isinstance(made, Lazy) and not (kind == "_buffers" and name in passing):
                    yield prefix + name, made
        for name, child in _named(own.get("_modules")):
            if (below := module_in(child)) is not None:
                yield from self._state(below, f"{prefix}{name}.", level + 1)


def module_in(value: Any) -> Attributes | None:
    """Return the attributes of the module that a stand-in is one of, None where it is of none.

    ``torch.fx`` and ``torch.compile`` hand a module, or a dict of its attributes, to what makes the module that is
    saved; the state of a quantised convolution is a tuple in which the weight and the bias are the only tensors.
    """
    for _ in range(_DEEPEST):
        if not isinstance(value, StandIn):
            return None
        if value.attributes.keys() >= _OF_MODULES:
            return value.attributes
        if _QUANTISED.search(value.name.module) and isinstance(value.state, tuple):
            tensors = [one for one in value.state if isinstance(one, Lazy)]
            return {"_parameters": dict(zip(("weight", "bias"), tensors, strict=False)), "_modules": {}}
        value = value.arguments[0] if value.arguments else None
        if isinstance(value, dict) and value.keys() >= _OF_MODULES:
            return value
    return None


def _as_weight(name: Any, made: Any) -> Any:
    """Return a value, or why it is not read where it is an object of an unknown class under the name of a weight."""
    if not (isinstance(made, Unmade) and isinstance(name, str) and names_a_weight(name)):
        return made
    kind = made.type_name
    reason = f"it is an object of the class {kind!r}; save its values as a plain tensor"
    return Refused((), _REASONS.get(kind, reason))


def _named(values: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        yield from ((name, value) for name, value in values.items() if isinstance(name, str))


def _may_hold_modules(value: Any) -> bool:
    """Tell whether an attribute of an object of an unknown class is worth a look: only modules are, not its tensors."""
    is_found = module_in(value) is not None
    return is_found or (isinstance(value, StandIn) and any(module_in(one) for one in value.attributes.values()))
