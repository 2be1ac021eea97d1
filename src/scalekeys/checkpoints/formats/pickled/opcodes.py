"""The interpreter of the opcodes of a pickle, of all protocols, in which nothing is imported and nothing called.

Why not :class:`pickle.Unpickler` with stand-ins for every class: it takes memory before it looks (a put into the memo
under a huge number, a buffer of a length that the file only claims), it makes real objects of ``bytearray`` or
``range`` where these are opcodes, and it hashes tuples of any depth. Here a length is compared with the file first,
long strings stay in the file, and the numbers of steps and objects are bounded. It runs about a million opcodes a
second: a network of 100,000 tensors takes four seconds, half of what ``torch.load(weights_only=True)`` takes, which is
an interpreter in Python as well.
"""

import struct
from collections.abc import Callable
from typing import Any

from scalekeys.checkpoints.formats.pickled.literals import LITERALS
from scalekeys.checkpoints.formats.pickled.machine import Machine, PickleError
from scalekeys.checkpoints.formats.pickled.stand_ins import StandIn, as_key

_STOP = ord(".")


def read_pickle(machine: Machine) -> Any:
    """Read the pickle at the position of a machine, and leave the position behind it.

    Raises PickleError if it is damaged, too large, or names what can only be meant to run.
    """
    machine.begin()
    buffer, code = machine.buffer, 0
    try:
        for _ in range(machine.steps_left()):
            code = buffer[machine.position]
            machine.position += 1
            if code == _STOP:
                return machine.stack.pop()
            machine.steps += 1
            _HANDLERS[code](machine)
    except PickleError:
        raise
    except IndexError:
        raise PickleError("a pickle that ends too early") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise PickleError(f"opcode {chr(code)!r}: {str(error)[:100]}") from None
    raise PickleError("too many opcodes")


def _new(make: Callable[[], Any]) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        machine.add_object()
        machine.stack.append(make())

    return handle


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError
        items = tuple(machine.stack[-count:])
        machine.stack[-count:] = [items]

    return handle


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.since_mark()


def _filled(make: Callable[[list[Any]], Any]) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        items = machine.since_mark()
        machine.add_object()
        machine.stack.append(make(items))

    return handle


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    return {as_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _put_items(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, dict):
        target.update(_dict_of(items))
    elif isinstance(target, StandIn):
        target.items = {} if target.items is None else target.items
        target.items.update(_dict_of(items))
    else:
        raise PickleError(f"items for something of type {type(target).__name__}")


def _put_elements(machine: Machine, elements: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(elements)
    elif isinstance(target, set):
        target.update(as_key(element) for element in elements)
    elif isinstance(target, StandIn):
        target.elements = target.elements or []
        target.elements.extend(elements)
    else:
        raise PickleError(f"elements for something of type {type(target).__name__}")


def _global(machine: Machine) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    machine.stack.append(machine.name(module, name))


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.name(module, name))


def _reduce(machine: Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.call(function, arguments))


def _new_with_keywords(machine: Machine) -> None:
    keywords, arguments, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if not isinstance(keywords, dict):
        raise PickleError("keywords that are no dict")
    machine.stack.append(machine.call(function, (*arguments, *keywords.values())))


def _instance(machine: Machine) -> None:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    arguments = tuple(machine.since_mark())
    machine.stack.append(machine.call(machine.name(module, name), arguments))


def _object(machine: Machine) -> None:
    function, *arguments = machine.since_mark()
    machine.stack.append(machine.call(function, tuple(arguments)))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, StandIn):
        target.state = state
    elif hasattr(target, "build"):  # one of ours
        target.build(state)


def _memoize(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _put(read: Callable[[Machine], int]) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        machine.memo[read(machine)] = machine.stack[-1]

    return handle


def _get(read: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(machine.memo[read(machine)])


def _number_of(code: str) -> Callable[[Machine], int]:
    unpack, size = struct.Struct(code).unpack_from, struct.calcsize(code)

    def read(machine: Machine) -> int:
        found: int = unpack(machine.buffer, machine.position)[0]
        machine.position += size
        return found

    return read


def _number_in_line(machine: Machine) -> int:
    return int(machine.line())


def _pass_over(count: int) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        machine.skip(count)

    return handle


def _refused(code: int) -> Callable[[Machine], None]:
    def handle(_: Machine) -> None:
        raise PickleError(f"{chr(code)!r} is no opcode that is read")

    return handle


_CONTAINERS = {b"}": _new(dict), b"]": _new(list), b"\x8f": _new(set), b"(": Machine.mark}
_COLLECTED = {
    b"t": _filled(tuple),
    b"l": _filled(list),
    b"d": _filled(_dict_of),
    b"\x91": _filled(lambda items: frozenset(map(as_key, items))),
}
_TUPLES = {b"\x85": _tuple_of(1), b"\x86": _tuple_of(2), b"\x87": _tuple_of(3)}
_STACK = {b"0": _pop, b"1": Machine.since_mark, b"2": lambda machine: machine.stack.append(machine.stack[-1])}
_FILLING = {
    b"s": lambda machine: _put_items(machine, [machine.stack.pop(), machine.stack.pop()][::-1]),
    b"u": lambda machine: _put_items(machine, machine.since_mark()),
    b"a": lambda machine: _put_elements(machine, [machine.stack.pop()]),
    **dict.fromkeys((b"e", b"\x90"), lambda machine: _put_elements(machine, machine.since_mark())),
}
_NAMES = {b"c": _global, b"\x93": _stack_global, b"R": _reduce, b"\x81": _reduce, b"\x92": _new_with_keywords}
_OBJECTS = {b"i": _instance, b"o": _object, b"b": _build}
_KEPT_OUTSIDE = {
    b"Q": lambda machine: machine.stack.append(machine.persistent(machine.stack.pop())),
    b"P": lambda machine: machine.stack.append(machine.persistent(machine.line().decode("utf-8"))),
}
_PUTTING = {b"\x94": _memoize, b"p": _put(_number_in_line), b"q": _put(_number_of("<B")), b"r": _put(_number_of("<I"))}
_GETTING = {b"g": _get(_number_in_line), b"h": _get(_number_of("<B")), b"j": _get(_number_of("<I"))}
_PASSED_OVER = {b"\x80": _pass_over(1), b"\x95": _pass_over(8)}
_TABLE: dict[bytes, Callable[[Machine], Any]] = {
    **(LITERALS | _CONTAINERS | _COLLECTED | _TUPLES | _STACK | _FILLING),
    **(_NAMES | _OBJECTS | _KEPT_OUTSIDE | _PUTTING | _GETTING | _PASSED_OVER),
}
_HANDLERS = [_TABLE.get(bytes((code,)), _refused(code)) for code in range(256)]
