"""Mutations of ONNX models, field by field of the messages that they are made of."""

from random import Random
from typing import Any

import onnx

from fuzz.mutators import raw

_OPERATORS = (
    "Conv",
    "ConvTranspose",
    "Identity",
    "Cast",
    "Constant",
    "DequantizeLinear",
    "Reshape",
    "If",
    "Loop",
    "Tile",
    "QLinearConv",
    "X",
    "",
)
_DOMAINS = ("", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml", "x")
_NAMES = ("", "x", "\0", "../x", "/dev/zero", "a" * 5000, "\x1b[31m", "dw.weight", "é")


def message_field(content: bytes, random: Random) -> bytes:
    """Change one field of one message, however deep."""
    model = onnx.ModelProto.FromString(content)
    _change(model, random)
    written: bytes = model.SerializeToString()
    return written


def _change(message: Any, random: Random) -> None:
    fields = [(field, value) for field, value in message.ListFields()]
    if not fields:
        return
    field, value = random.choice(fields)
    repeated = not (hasattr(value, "ListFields") or isinstance(value, int | float | str | bytes))
    if field.message_type is not None and random.random() < 0.9:
        inner = random.choice(value) if repeated and len(value) else value
        if hasattr(inner, "ListFields") and inner.ListFields():
            _change(inner, random)
            return
    if repeated:
        _change_list(value, random)
    elif isinstance(value, int | float | str | bytes):
        setattr(message, field.name, _other(value, field.name, random))
    if random.random() < 0.1:
        message.ClearField(field.name)


def _change_list(values: Any, random: Random) -> None:
    if not len(values):
        return
    place = random.randrange(len(values))
    change = random.choice(("remove", "repeat", "empty", "value", "value"))
    if change == "remove":
        del values[place]
    elif change == "empty":
        del values[:]
    elif hasattr(values[place], "ListFields"):
        values.add().CopyFrom(values[place])
    elif change == "repeat":
        values.append(values[place])
    else:
        values[place] = _other(values[place], "", random)


def _other(value: Any, name: str, random: Random) -> Any:
    if isinstance(value, bytes):
        return raw.any_change(value, random)
    if isinstance(value, str):
        return random.choice({"op_type": _OPERATORS, "domain": _DOMAINS}.get(name, _NAMES))
    if isinstance(value, float):
        return random.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    if name in ("data_type", "elem_type", "type", "data_location"):
        return random.randint(0, 30)
    number: int = random.choice(raw.ODD)
    return max(-(2**31), min(number, 2**31 - 1)) if abs(value) < 100 else number
