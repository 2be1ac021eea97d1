"""Mutations of pickles, opcode by opcode; some of them would run code if anything executed the pickle."""

import pickle
import pickletools
from random import Random

from fuzz.mutators import raw

CANARY = "fuzz.canary"
_CODE = f"__import__('{CANARY}', fromlist=['x']).fire()"
PAYLOADS = (
    ("fuzz.canary", "fire", ()),
    ("builtins", "exec", (_CODE,)),
    ("builtins", "eval", (_CODE,)),
    ("os", "system", ("true",)),
    ("posix", "system", ("true",)),
    ("subprocess", "Popen", (["true"],)),
    ("importlib", "import_module", (CANARY + "_imported",)),
    ("builtins", "bytearray", (1 << 31,)),
    ("builtins", "getattr", ("", "join")),
    ("operator", "mul", ("x", 1 << 31)),
    ("numpy", "zeros", (1 << 31,)),
    ("torch", "zeros", (1 << 31,)),
    ("torch.jit", "load", ("x",)),
    ("collections", "OrderedDict", ()),
)


def opcodes(content: bytes, random: Random) -> bytes:
    """Change one opcode of a pickle, of one of the pickles that follow each other in an old file."""
    pieces = _pieces(content)
    place = random.randrange(len(pieces))
    change = random.choice(("remove", "repeat", "swap", "payload", "payload", "argument", "argument", "alien"))
    if change == "remove":
        del pieces[place]
    elif change == "repeat":
        pieces.insert(place, pieces[place])
    elif change == "swap":
        other = random.randrange(len(pieces))
        pieces[place], pieces[other] = pieces[other], pieces[place]
    elif change == "payload":
        pieces.insert(place, payload(random))
    elif change == "argument" and len(pieces[place]) > 1:
        pieces[place] = pieces[place][:1] + raw.any_change(pieces[place][1:], random)
    else:
        alien = random.choice(pickletools.opcodes)
        pieces.insert(place, alien.code.encode("latin-1") + random.randbytes(random.choice((0, 1, 4, 8))))
    return b"".join(pieces)


def payload(random: Random) -> bytes:
    """Return opcodes that call something, in one of the ways that pickles have, and leave the result on the stack."""
    module, name, arguments = random.choice(PAYLOADS)
    packed = pickle.dumps(arguments, 2)[2:-1]
    names = f"c{module}\n{name}\n".encode()
    by_stack = pickle.dumps(module, 4)[11:-2] + pickle.dumps(name, 4)[11:-2] + b"\x93"
    return random.choice(
        (
            names + packed + b"R",
            names + packed + b"\x81",
            names + packed + b"R0",
            by_stack + packed + b"R",
            b"(i" + f"{module}\n{name}\n".encode(),
            b"(" + names + b"o",
            names + packed + b"b",
        )
    )


def _pieces(content: bytes) -> list[bytes]:
    pieces, start = [], 0
    while start < len(content):
        try:
            places = [position or 0 for _, _, position in pickletools.genops(content[start:])]
        except Exception:  # behind the pickles of an old file there are numbers
            break
        length = places[-1] + 1
        pieces += [content[start + a : start + b] for a, b in zip(places, [*places[1:], length], strict=True)]
        start += length
    return pieces + ([content[start:]] if start < len(content) else [])
