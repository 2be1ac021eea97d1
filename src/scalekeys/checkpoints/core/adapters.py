"""Networks that were tuned with adapters, as peft and loralib save them: what is read of them, and what is not."""

import re
from collections.abc import Collection, Iterable, Mapping

from scalekeys.errors import counted

_PART = re.compile(r"\.(?:lora|hada|lokr|ia3|b?oft|vera)_")
"""How the name of a part of an adapter starts, behind that of the layer that it changes."""
_BASES = (".base_layer", ".conv", "")
"""What stands behind the name of a layer with an adapter where its own weight is."""
_TRAINED = ".modules_to_save."

OF_ADAPTER = "it is a part of an adapter (LoRA) of a layer, and not the weight of one"
ORIGINAL = "the layer was trained further, and is read from 'modules_to_save' beside it"


def not_weights(keys: Collection[str]) -> dict[str, str]:
    """Return the keys of what is not used as the weight of a layer, with the reasons.

    >>> not_weights(["a.original_module.weight", "a.modules_to_save.default.weight"])
    {'a.original_module.weight': "the layer was trained further, and is read from 'modules_to_save' beside it"}
    >>> list(not_weights(["a.base_layer.weight", "a.lora_A.default.weight", "b.lora_A.weight"]))
    ['a.lora_A.default.weight']
    """
    known = frozenset(keys)
    found = {key: ORIGINAL for key in map(_original, keys) if key and key in known}
    return found | {key: OF_ADAPTER for parts in _adapted(known, keys).values() for key in parts}


def said_of_adapters(keys: Collection[str], read: Iterable[str]) -> tuple[str, ...]:
    """Say that layers have adapters that are not merged into them.

    `keys`: all names of tensors; `read`: those of the weights that are read.

    >>> said_of_adapters(["a.base_layer.weight", "a.lora_A.default.weight"], ["a.base_layer.weight"])
    ('1 layer has an adapter (LoRA) that is not merged into its weight; save the state dict after merge_and_unload()',)
    """
    count = len({*read} & {*_adapted(frozenset(keys), keys)})
    if not count:
        return ()
    have = "has an adapter (LoRA) that is not merged into its weight"
    if count > 1:
        have = "have adapters (LoRA) that are not merged into their weights"
    return (f"{counted(count, 'layer')} {have}; save the state dict after merge_and_unload()",)


def _original(key: str) -> str:
    """Return what the weight was called that was trained further under this name; empty where none was."""
    owner, mark, rest = key.rpartition(_TRAINED)
    return f"{owner}.original_module.{rest.partition('.')[2]}" if mark else ""


def _adapted(known: frozenset[str], keys: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the parts of adapters by the key of the weight that they change, where it is there."""
    found: dict[str, list[str]] = {}
    for key in keys:
        if starts := [match.start() for match in _PART.finditer(key)]:
            weight = next((one for base in _BASES if (one := f"{key[: starts[-1]]}{base}.weight") in known), None)
            if weight is not None:
                found.setdefault(weight, []).append(key)
    return found
