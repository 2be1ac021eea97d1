"""The interpreter of the opcodes of a pickle, of all protocols, in which nothing is imported and nothing called.

Why not :class:`pickle.Unpickler` with stand-ins for every class: it takes memory before it looks (a put into the memo
under a huge number, a buffer of a length that the file only claims), it makes real objects of ``bytearray`` or
``range`` where these are opcodes, and it hashes tuples of any depth. Here a length is compared with the file first,
long strings stay in the file, and the numbers of steps and objects are bounded. It runs about a million opcodes a
second: a network of 100,000 tensors takes four seconds, half of what ``torch.load(weights_only=True)`` takes, which is
an interpreter in Python as well.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from scalekeys.checkpoints.formats.pickled.literals import LITERALS, Read, number_of
from scalekeys.checkpoints.formats.pickled.machine import Machine, PickleError
from scalekeys.checkpoints.formats.pickled.stand_ins import Name, StandIn, as_key

Handle: TypeAlias = Callable[[Machine], None]
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


def _push(read: Read) -> Handle:
    def handle(machine: Machine) -> None:
        value = read(machine)  # which may go back to the stack before a mark
        machine.stack.append(value)

    return handle


def _push_object(make: Read) -> Handle:
    def counted(machine: Machine) -> Any:
        machine.add_object()
        return make(machine)

    return _push(counted)


def _tuple_of(count: int) -> Handle:
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


def _name_in_lines(machine: Machine) -> Name:
    module, name = machine.line().decode("utf-8"), machine.line().decode("utf-8")
    return machine.name(module, name)


def _name_on_stack(machine: Machine) -> Name:
    name, module = machine.stack.pop(), machine.stack.pop()
    return machine.name(module, name)


def _reduce(machine: Machine) -> Any:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    return machine.call(function, arguments)


def _reduce_with_keywords(machine: Machine) -> Any:
    keywords, arguments, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if not (isinstance(keywords, dict) and isinstance(arguments, tuple)):
        raise PickleError("arguments that are no tuple, or keywords that are no dict")
    machine.add_object(len(arguments) + len(keywords))
    return machine.call(function, (*arguments, *keywords.values()))


def _instance(machine: Machine) -> Any:
    name = _name_in_lines(machine)
    return machine.call(name, tuple(machine.since_mark()))


def _object(machine: Machine) -> Any:
    function, *arguments = machine.since_mark()
    return machine.call(function, tuple(arguments))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, StandIn):
        target.state = state
    elif hasattr(target, "build"):  # one of ours
        target.build(state)


def _put(place: Read) -> Handle:
    def handle(machine: Machine) -> None:
        machine.memo[place(machine)] = machine.stack[-1]

    return handle


def _get(place: Read) -> Handle:
    return _push(lambda machine: machine.memo[place(machine)])


def _refused(code: int) -> Handle:
    def handle(_: Machine) -> None:
        raise PickleError(f"{chr(code)!r} is no opcode that is read")

    return handle


_PLACES: Sequence[tuple[bytes, bytes, Read]] = (
    (b"p", b"g", lambda machine: int(machine.line())),
    (b"q", b"h", number_of("<B")),
    (b"r", b"j", number_of("<I")),
)
"""How the memo is put into and asked, and what reads the place in it."""
_TABLE: dict[bytes, Callable[[Machine], Any]] = {
    **{code: _push(read) for code, read in LITERALS.items()},
    # containers
    b"}": _push_object(lambda _: {}),
    b"]": _push_object(lambda _: []),
    b"\x8f": _push_object(lambda _: set()),
    b"t": _push_object(lambda machine: tuple(machine.since_mark())),
    b"l": _push_object(Machine.since_mark),
    b"d": _push_object(lambda machine: _dict_of(machine.since_mark())),
    b"\x91": _push_object(lambda machine: frozenset(map(as_key, machine.since_mark()))),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"s": lambda machine: _put_items(machine, [machine.stack.pop(), machine.stack.pop()][::-1]),
    b"u": lambda machine: _put_items(machine, machine.since_mark()),
    b"a": lambda machine: _put_elements(machine, [machine.stack.pop()]),
    **dict.fromkeys((b"e", b"\x90"), lambda machine: _put_elements(machine, machine.since_mark())),
    # the stack
    b"(": Machine.mark,
    b"0": _pop,
    b"1": Machine.since_mark,
    b"2": _push(lambda machine: machine.stack[-1]),
    # names and objects
    b"c": _push(_name_in_lines),
    b"\x93": _push(_name_on_stack),
    **dict.fromkeys((b"R", b"\x81"), _push(_reduce)),
    b"\x92": _push(_reduce_with_keywords),
    b"i": _push(_instance),
    b"o": _push(_object),
    b"b": _build,
    b"Q": _push(lambda machine: machine.persistent(machine.stack.pop())),
    b"P": _push(lambda machine: machine.persistent(machine.line().decode("utf-8"))),
    # the memo
    b"\x94": _put(lambda machine: len(machine.memo)),
    **{put: _put(place) for put, _, place in _PLACES},
    **{get: _get(place) for _, get, place in _PLACES},
    # what is passed over: the protocol and the length of a frame
    b"\x80": lambda machine: machine.skip(1),
    b"\x95": lambda machine: machine.skip(8),
}
_HANDLERS = [_TABLE.get(bytes((code,)), _refused(code)) for code in range(256)]
