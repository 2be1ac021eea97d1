"""Mutations of what JSON and YAML hold: dicts, lists and plain values."""

import json
from copy import deepcopy
from random import Random
from typing import Any

import yaml

_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "x", "x" * 300, "x" * 5000, "\0", "\n", "\x1b[31m", "\udcff", "../x", "/dev/zero", "=1+1", "ï", "{}", "F64"),
    *([], {}, [[]], {"": ""}, [0] * 1000),
)
_DEEP = 3000


def odd(random: Random) -> Any:
    """Return a value that is seldom expected; now and then a very deep one."""
    if random.random() < 0.03:
        deep: Any = 0
        for _ in range(_DEEP):
            deep = [deep] if random.random() < 0.9 else {"a": deep}
        return deep
    return deepcopy(random.choice(_ODD))


def changed(tree: Any, random: Random) -> Any:
    """Return a tree with one change somewhere in it."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.02:
        return odd(random)
    tree = dict(tree) if isinstance(tree, dict) else list(tree)
    key = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
    if isinstance(tree[key], dict | list) and tree[key] and random.random() < 0.8:
        tree[key] = changed(tree[key], random)
        return tree
    return _change_here(tree, key, random)


def _change_here(tree: Any, key: Any, random: Random) -> Any:
    change = random.choice(("value", "value", "value", "remove", "add", "swap"))
    if change == "value":
        tree[key] = odd(random)
    elif change == "remove":
        del tree[key]
    elif isinstance(tree, list):
        tree.insert(key, tree[key] if change == "swap" else odd(random))
    elif change == "add":
        tree[random.choice(("", "x", str(key) + "x", "__proto__", "é"))] = odd(random)
    else:
        tree[key] = tree[random.choice(list(tree))]
    return tree


def json_text(content: bytes, random: Random) -> bytes:
    """Change a JSON document, or one line of a file that has one in each line."""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    try:
        json.loads(content)
    except ValueError:
        place = random.randrange(len(lines))
        lines[place] = _dumped(changed(json.loads(lines[place]), random))
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    return _dumped(changed(json.loads(content), random)).encode("utf-8", "surrogatepass")


def safetensors_header(content: bytes, random: Random) -> bytes:
    """Change the header of a safetensors file, with the right length before it."""
    length = int.from_bytes(content[:8], "little")
    header = _dumped(changed(json.loads(content[8 : 8 + length]), random)).encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def yaml_text(content: bytes, random: Random) -> bytes:
    """Change a YAML document as a tree, or put something odd behind one of its colons."""
    if random.random() < 0.5:
        text: str = yaml.dump(changed(yaml.safe_load(content), random), allow_unicode=True)
        return text.encode("utf-8", "surrogatepass")
    lines = content.decode().splitlines()
    place = random.randrange(len(lines))
    value = random.choice(_YAML)
    lines[place] = lines[place].partition(":")[0] + ": " + value
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_YAML = (
    *(
        "[" * 2000,
        "{a: " * 500,
        "*a",
        "&a [*a, *a]",
        "&a {b: *a}",
        "!!python/object/apply:os.system ['true']",
        "!x y",
        "1e999",
        "0x" + "f" * 999,
    ),
    *(
        "2026-13-45",
        "2026-11-29",
        "1:2:3",
        '"\\UFFFFFFFF"',
        "|",
        ">",
        "'",
        "\t",
        "? x",
        "<<: 1",
        "!!binary x",
        "!!float x",
        "!!timestamp x",
        "~",
        ".inf",
        "-.nan",
    ),
    *(
        "&a [x]\nb: [*a, *a, *a]",
        "&a0 [x, x]\nl1: &a1 [*a0, *a0]\nl2: &a2 [*a1, *a1]",
        "9" * 5000,
        "0o8",
        "0b2",
        "12e",
        "=",
        "%",
        "@",
        "`",
    ),
)


def _dumped(tree: Any) -> str:
    try:
        return json.dumps(tree, ensure_ascii=False)
    except RecursionError:  # deeper than Python writes: as text
        return "[" * 100_000 + "]" * 100_000
