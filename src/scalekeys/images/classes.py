"""The numbers of classes: one rule for training and evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalekeys.errors import DataError, listed
from scalekeys.files import parse_json, read_text

MOST = 1_000_000
"""Numbers of classes are below this."""


@dataclass(frozen=True)
class ClassNumbers:
    """The numbers of classes by their names."""

    numbers: Mapping[str, int]
    are_places: bool
    """Whether each number is the place of a name in their order, rather than one that was given."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each number from 0 to the largest; a number without a class is its own name."""
        names = {number: name for name, number in self.numbers.items()}
        return tuple(names.get(number, str(number)) for number in range(max(names, default=-1) + 1))

    def of(self, name: str) -> int | None:
        """Return the number of a class, None where there is none of this name; ``07`` and ``7`` are one name."""
        if name in self.numbers or self.are_places or not is_whole(name):
            return self.numbers.get(name)
        return next((number for other, number in self.numbers.items() if is_whole(other) and number == int(name)), None)


def class_numbers(names: Sequence[str], label: str, given: Mapping[str, int] | None = None) -> ClassNumbers:
    """Give each class its number.

    The number of a class is what `given` says. Otherwise, where all names are whole numbers, a class is its name: the
    folder ``7`` is class 7, whatever other folders there are, so that a part of the classes keeps its numbers.
    Otherwise it is the place of its name in the order of the names, as for torchvision's ``ImageFolder``. That library
    sorts whole numbers like words too (0, 1, 10, 2); for a network that was trained so, give its classes in its order.

    `label`: what errors put first.
    Raises DataError if a class has no number, two have the same, or one is too large.

    >>> dict(class_numbers(["10", "9"], "images").numbers)
    {'9': 9, '10': 10}
    >>> dict(class_numbers(["n02", "n01"], "images").numbers)
    {'n01': 0, 'n02': 1}
    """
    if given is not None:
        missing = [repr(name) for name in names if name not in given]
        if missing:
            raise DataError(f"{label}: the labels say no number for the classes {listed(missing, limit=3)}; add them")
        return ClassNumbers({name: given[name] for name in names}, are_places=False)
    if not all(map(is_whole, names)):
        return ClassNumbers({name: number for number, name in enumerate(sorted(names))}, are_places=True)
    numbers: dict[int, str] = {}
    for name in sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)):
        if len(name.lstrip("0")) >= len(str(MOST)):
            raise DataError(
                f"{label}: the folder {name!r} would be a class of that number, which is too large; call it by a word, "
                "or say its number in a file of labels"
            )
        if int(name) in numbers:
            raise DataError(f"{label}: {numbers[int(name)]!r} and {name!r} are both class {int(name)}; rename one")
        numbers[int(name)] = name
    return ClassNumbers({name: number for number, name in numbers.items()}, are_places=False)


def is_whole(name: str) -> bool:
    """Tell whether a name is a whole number."""
    return name.isascii() and name.isdigit()


def read_labels(path: Path) -> dict[str, int]:
    """Read the number of each class from JSON, or from lines in the order of the numbers.

    Raises DataError if the file cannot be read, or is neither.
    """
    text = read_text(path, DataError)
    if not text.lstrip().startswith("{"):
        names = [line.split()[0] for line in text.splitlines() if line.strip()]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise DataError(f"{path}: has two lines for the class {twice!r}; give each class once")
        return {name: number for number, name in enumerate(names)}
    try:
        content = parse_json(text)
    except ValueError as error:
        raise DataError(f"{path}: is neither JSON nor a list of names ({error})") from None
    if not all(type(number) is int and 0 <= number < MOST for number in content.values()):
        raise DataError(f'{path}: must hold {{"name": number}} for each class, or a name on each line')
    return dict(content)
