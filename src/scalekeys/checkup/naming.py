"""How the commands of advice name a network, its weights and its inputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from scalekeys.checkpoints import Checkpoint, open_source
from scalekeys.checkpoints.sources.paths import ADDRESSES, HUBS, code_of, scheme_of
from scalekeys.checkpoints.writing import copy_suffix
from scalekeys.errors import CheckpointError, MissingExtraError
from scalekeys.shapes import Size, size_text

NETWORK, WEIGHTS = "NETWORK", "WEIGHTS"
"""What stands in a command for a network that has no name there, and for a file in which no filters can be changed."""

_PLACEHOLDERS = {
    NETWORK: "FILE.py:FUNCTION that returns the network, or timm:NAME",
    WEIGHTS: "a state dict of the network in a .pth or .safetensors file",
    "FOLDER": "a folder of images",
    "PIXELS": "the side of the inputs of the network",
    "SHAPE": "the shape of one input, such as 1x40x101",
}


@dataclass(frozen=True)
class Storage:
    """How the weights of a network are stored."""

    suffix: str = ".pth"
    """Of a copy with other filters."""
    is_graph: bool = False
    """Whether in a graph, from which no network can load them."""
    is_plain: bool = True
    """Whether the weights of all layers are stored as they are."""
    can_change: bool = True
    """Whether a copy can have other filters in all layers."""

    @classmethod
    def of(cls, opened: Checkpoint) -> "Storage":
        """Look at a source that is opened."""
        can_change = all(map(opened.can_change, opened.layers))
        return cls(
            copy_suffix(opened) if can_change else cls.suffix,
            opened.is_graph,
            all(map(opened.is_plain, opened.layers)),
            can_change,
        )

    @classmethod
    def at(cls, checkpoint: Path, weights: str | None) -> "Storage":
        """Look at a file of weights, which a function may load that knows formats of its own."""
        try:
            return cls.of(open_source(checkpoint, weights=weights))
        except (CheckpointError, MissingExtraError):
            return cls(can_change=False)


@dataclass(frozen=True)
class Named:
    """A network as a user named it.

    Parameters
    ----------
    source : str
        What was given to the check-up: a file or folder of weights, a name of a hub, or ``FILE.py:FUNCTION``.
    checkpoint : str, optional
        The file of weights that is loaded into it.
    weights : str, optional
        Which entry of a nested checkpoint is read.
    images : str, optional
        The folder of images that was given.
    preparation : str
        Options of how images are prepared, as they were given.
    storage : Storage
        How its weights are stored.

    Examples
    --------
    >>> Named("my net.pth").given, Named("my net.pth").running(2, (224, 224))
    ("'my net.pth'", "NETWORK --checkpoint 'my net.pth' --size 224")
    >>> Named("timm:convnext_atto").running(2, None)
    'timm:convnext_atto'
    """

    source: str = NETWORK
    checkpoint: str | None = None
    weights: str | None = None
    images: str | None = None
    preparation: str = ""
    storage: Storage = Storage()

    @property
    def is_code(self) -> bool:
        """Whether it is a function that returns a network."""
        return code_of(self.source) is not None

    @property
    def given(self) -> str:
        """The network, or its weights, as it was given."""
        return self._with_weights(self.source, self.checkpoint)

    @property
    def cropped(self) -> str:
        """What ``scalekeys crop`` takes, which opens no addresses and crops no weights that are computed."""
        if self._is_address or self.storage.is_graph:
            return NETWORK
        return self.given if self.is_code or self.storage.is_plain else self._loaded_into_network

    @property
    def stored(self) -> str | None:
        """Where its weights stand, so that others can be put in their place; None where a function returns them."""
        if self.checkpoint is None and self.is_code:
            return None
        return self._with_weights(self.checkpoint or self.source) if self.storage.can_change else WEIGHTS

    def running(self, axes: int, sides: Size | None) -> str:
        """Return the network itself, which runs, with the size of its inputs where its name does not imply one."""
        if scheme_of(self.source) in HUBS:
            return self.given + self._prepared
        network = self.given if self.is_code or self.source == NETWORK else self._loaded_into_network
        if axes != 2:
            return f"{network} --shape SHAPE"
        size = "PIXELS" if sides is None else size_text(tuple(dict.fromkeys(sides)))
        return f"{network} --size {size}{self._prepared}"

    @property
    def folder(self) -> str:
        """The folder of images."""
        return "FOLDER" if self.images is None else quote(self.images)

    @property
    def _is_address(self) -> bool:
        return scheme_of(self.source) in ADDRESSES

    @property
    def _loaded_into_network(self) -> str:
        """A network that loads the weights, where it can."""
        cannot = self._is_address or self.storage.is_graph
        return self._with_weights(NETWORK, self.checkpoint or (None if cannot else self.source))

    @property
    def _prepared(self) -> str:
        return f" {self.preparation}" if self.preparation else ""

    def _with_weights(self, network: str, checkpoint: str | None = None) -> str:
        options = [("--checkpoint", checkpoint), ("--weights", self.weights)]
        return " ".join([quote(network), *(f"{name} {quote(value)}" for name, value in options if value is not None)])


def to_fill_in(commands: Iterable[str | None]) -> str:
    """Say what the words in capitals stand for, if some commands have any.

    Examples
    --------
    >>> to_fill_in(["scalekeys crop NETWORK -o cropped.pth", None])
    'In a command, NETWORK stands for FILE.py:FUNCTION that returns the network, or timm:NAME.'
    """
    known = {word for command in commands if command for word in command.split()}
    meant = [f"{word} stands for {meaning}" for word, meaning in _PLACEHOLDERS.items() if word in known]
    return f"In a command, {'; '.join(meant)}." if meant else ""
