"""A case: a target and a number, and the files that follow from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

Files: TypeAlias = dict[str, bytes]
"""Contents by relative path; a target with one file has one entry."""

Mutation: TypeAlias = Callable[[Files, Random], Files]
"""Returns changed files; the files that it is given stay as they are."""

Use: TypeAlias = Callable[[Path, Random], None]
"""Does what a user does with the files in a folder, and ends or raises."""

_MOST_MUTATIONS = 3


@dataclass(frozen=True)
class Target:
    """What is attacked.

    Parameters
    ----------
    name : str
    samples : callable
        Makes sound inputs; called once in each process.
    mutations : sequence of callable
    use : callable
        Is given the folder of the case, in which ``input`` holds the files.
    """

    name: str
    samples: Callable[[], Sequence[Files]]
    mutations: Sequence[Mutation]
    use: Use


def files_of(samples: Sequence[Files], mutations: Sequence[Mutation], random: Random) -> Files:
    """Choose a sample and change it one to three times."""
    files = dict(random.choice(samples))
    for _ in range(random.randint(1, _MOST_MUTATIONS)):
        files = random.choice(mutations)(files, random)
    return files


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
