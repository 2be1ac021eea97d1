"""What the files in a folder are called: which of them holds the weights of a network, and which is a part of one.

It is read without PyTorch, so that the command line refuses a folder without weights at once.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from scalekeys.checkpoints.formats.content import foreign_network, instead_of, is_list_of_shards
from scalekeys.checkpoints.formats.suffixes import DISTRIBUTED, OF_WEIGHTS, TFJS
from scalekeys.errors import CheckpointError, listed
from scalekeys.files import reading_from

INDEX_SUFFIX = ".index.json"

_CUSTOMARY = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_ENDINGS = (*OF_WEIGHTS, *TFJS)
_INDICES = tuple(suffix + INDEX_SUFFIX for suffix in OF_WEIGHTS)
_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})\.")
_SHARD_OF_KERAS = re.compile(r"_\d{5,}(\.weights)\.h5$")
_SHARDS_OF_TFJS = ".bin"
_STATE_OF_TRAINING = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "random_states")


def find_weights(folder: Path) -> Path | None:
    """Return the file of weights of a folder, or the index of its shards; None if there is neither.

    Raises CheckpointError if there are several, or the folder cannot be read.
    """
    with reading_from(folder, CheckpointError):
        names = sorted(path.name for path in folder.iterdir() if is_candidate(path))
    if any(name.lower().endswith(TFJS) and not is_index(Path(name)) for name in names):
        names = [name for name in names if name in _CUSTOMARY or not name.lower().endswith(_SHARDS_OF_TFJS)]
    name = choose_weights(names, label=str(folder))
    return folder / name if name else None


def choose_weights(names: Sequence[str], *, label: str) -> str | None:
    """Return which of the files of weights of a model is read: the customary names first, else the only one.

    Raises CheckpointError if there are several of which no name says more than the other, or shards without their
    index.

    >>> choose_weights(["model.safetensors", "model.pth", "pytorch_model.bin"], label="a folder")
    'model.safetensors'
    """
    if customary := next((name for name in _CUSTOMARY if name in names), None):
        return customary
    whole = [name for name in names if not _SHARD.search(name)]
    whole.sort(key=lambda name: (_ENDINGS.index(_split(name)[1]), is_index(Path(name)), name))
    if not whole and names:
        raise CheckpointError(
            f"{label}: holds shards ({listed(names, limit=3)}) without their {INDEX_SUFFIX[1:]}; add it"
        )
    if len({_split(name)[0] for name in whole}) > 1:
        raise CheckpointError(f"{label}: holds several files of weights ({listed(whole)}); name one of them")
    return whole[0] if whole else None


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file is called as weights are.

    Raises CheckpointError if there is none, or the folder cannot be read.
    """
    with reading_from(folder, CheckpointError):
        if not ((folder / DISTRIBUTED).is_file() or any(map(is_candidate, folder.iterdir()))):
            raise no_weights(folder)


def no_weights(folder: Path) -> CheckpointError:
    """Say that a folder holds no weights, and what it holds instead, if that is known."""
    names = (folder.name, *sorted(path.name for path in folder.iterdir()))
    if found := next(((name, kind) for name in names if (kind := foreign_network(name))), None):
        return CheckpointError(f"{folder}: holds {found[1]} ({found[0]}), {instead_of(found[1], folder)}")
    inside = folder.glob("*/*")
    below = sorted({path.parent.name for path in inside if path.name == DISTRIBUTED or is_candidate(path)})
    if below:
        return CheckpointError(
            f"{folder}: this folder holds no weights, but folders in it do; give one of them ({listed(below, limit=3)})"
        )
    return CheckpointError(f"{folder}: this folder holds no weights ({', '.join(sorted(OF_WEIGHTS))})")


def is_index(path: Path) -> bool:
    """Tell whether a file lists the shards of a model, by its name."""
    return path.name.endswith(INDEX_SUFFIX)


def as_a_part(path: Path) -> tuple[str, ...]:
    """Return a note where a file is called as one of several shards, of which the others hold the rest of the network.

    >>> as_a_part(Path("model-00001-of-00003.safetensors"))
    ('it is part 1 of 3 of a network; give the folder, or the index of the parts, for the whole',)
    """
    listed_in = _SHARD_OF_KERAS.sub(r"\1.json", path.name)
    if listed_in != path.name and path.with_name(listed_in).is_file():
        return (f"it is a part of a network, of which {listed_in} lists the parts; the other parts are not read",)
    found = _SHARD.search(path.name)
    number, count = (int(digits) for digits in found.groups()) if found else (1, 1)
    if count == 1:
        return ()
    return (f"it is part {number} of {count} of a network; give the folder, or the index of the parts, for the whole",)


def names_weights(name: str) -> bool:
    """Tell whether a file is called as weights are, or as an index of their shards, and not as a state of training.

    >>> names_weights("model.safetensors.index.json"), names_weights("optimizer.pt"), names_weights("config.json")
    (True, False, False)
    """
    name = name.lower()
    is_whole = not name.startswith((".", *_STATE_OF_TRAINING)) and not foreign_network(name)
    return is_whole and name.endswith((*OF_WEIGHTS, *_INDICES))


def is_candidate(path: Path) -> bool:
    """Tell whether there is a file that is called as weights are, or a JSON file that lists shards of weights."""
    return (names_weights(path.name) or is_list_of_shards(path)) and path.is_file()


def _split(name: str) -> tuple[str, str]:
    """Split the name of a file of weights, or of an index, into its stem and the suffix of its format."""
    whole = name.removesuffix(INDEX_SUFFIX)
    suffix = next(suffix for suffix in sorted(_ENDINGS, key=len, reverse=True) if whole.lower().endswith(suffix))
    return whole[: -len(suffix)], suffix
