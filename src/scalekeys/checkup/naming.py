"""How the commands of advice name a network, its weights and its inputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from scalekeys.checkpoints.formats.registry import format_of
from scalekeys.checkpoints.sources.addresses import SCHEMES as ADDRESSES
from scalekeys.checkpoints.sources.source import scheme_of
from scalekeys.shapes import Size, size_text

NETWORK = "NETWORK"
"""What stands in a command for a network that has no name there."""

_PLACEHOLDERS = {
    NETWORK: "FILE.py:FUNCTION that returns the network, or timm:NAME",
    "FOLDER": "a folder of images",
    "PIXELS": "the side of the inputs of the network",
    "SHAPE": "the shape of one input, such as 1x40x101",
}


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

    @property
    def is_code(self) -> bool:
        """Whether it is a function that returns a network."""
        return Path(self.source.rpartition(":")[0]).suffix == ".py"

    @property
    def given(self) -> str:
        """The network, or its weights, as it was given."""
        return self._with_weights(self.source, self.checkpoint)

    @property
    def cropped(self) -> str:
        """What ``scalekeys crop`` takes, which opens no addresses and changes no files that hold a graph."""
        path = Path(self.source).expanduser()
        return NETWORK if self._is_address or (path.is_file() and format_of(path).is_graph) else self.given

    @property
    def stored(self) -> str | None:
        """Where its weights stand; None where a function returns them."""
        if self.checkpoint is None and self.is_code:
            return None
        return self._with_weights(self.checkpoint or self.source)

    def running(self, axes: int, sides: Size | None) -> str:
        """Return the network itself, which runs, with the size of its inputs where its name does not imply one."""
        if _is_on_hub(self.source):
            return self.given + self._prepared
        runs = self.is_code or self.source == NETWORK
        loaded = self.checkpoint or (None if self._is_address else self.source)
        network = self.given if runs else self._with_weights(NETWORK, loaded)
        if axes != 2:
            return f"{network} --shape SHAPE"
        size = "PIXELS" if sides is None else size_text(tuple(dict.fromkeys(sides)))
        return f"{network} --size {size}{self._prepared}"

    @property
    def folder(self) -> str:
        """The folder of images."""
        return "FOLDER" if self.images is None else quote(self.images)

    @property
    def suffix(self) -> str:
        """The suffix of a copy of its weights."""
        stored = self.checkpoint or self.source
        return ".pth" if stored == NETWORK or _is_on_hub(stored) else Path(stored).suffix or ".safetensors"

    @property
    def _is_address(self) -> bool:
        return scheme_of(self.source) in ADDRESSES

    @property
    def _prepared(self) -> str:
        return f" {self.preparation}" if self.preparation else ""

    def _with_weights(self, network: str, checkpoint: str | None = None) -> str:
        options = [("--checkpoint", checkpoint), ("--weights", self.weights)]
        return " ".join([quote(network), *(f"{name} {quote(value)}" for name, value in options if value is not None)])


def _is_on_hub(source: str) -> bool:
    return scheme_of(source) not in (None, *ADDRESSES)


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
