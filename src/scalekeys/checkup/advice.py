"""What a check-up says: one piece of advice for each thing that was found."""

from dataclasses import asdict, dataclass
from typing import Any

from scalekeys.errors import counted, listed

CERTAIN, BOUNDED, HINT = "certain", "bounded", "hint"
CERTAINTIES = {
    CERTAIN: "it follows from the weights",
    BOUNDED: "its cost is bounded but not measured",
    HINT: "it has to be tried",
}
"""How sure a piece of advice is, the surest first, and what the word means."""


@dataclass(frozen=True)
class Place:
    """Where something was found.

    Parameters
    ----------
    layer : str
    size : str
        Of its kernels.
    filters, of : int
        How many filters of the layer are concerned, and how many it has.
    value : float
        The figure that tells.
    control : float or None
        The same figure of noise in the place of the filters; None where noise has none.
    channels : tuple of int
        The positions in the layer of the filters that are concerned; empty where the layer is concerned as a whole.
    """

    layer: str
    size: str
    filters: int
    of: int
    value: float
    control: float | None = None
    channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Followed:
    """What came of following a piece of advice on the images that were given.

    Parameters
    ----------
    told : str
        All of it in a sentence, or why it could not be followed.
    parameters : tuple of (int, int) or None
        Of the network, before and after.
    inputs : int
        On how many inputs, which served for nothing else, `change` was measured.
    measure : str
        What was compared: ``"points of top-1"``, or without labels ``"change of outputs"``, the squared change as a
        share of the variance of the outputs over the inputs.
    change : float or None
        After less before.
    interval : tuple of (float, float) or None
        Where the change lies with 95 % confidence.
    """

    told: str
    parameters: tuple[int, int] | None = None
    inputs: int = 0
    measure: str = ""
    change: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Advice:
    """One finding of a check-up.

    Parameters
    ----------
    name : str
        What kind of finding it is, such as ``dead-filters``.
    what : str
        The finding in a sentence.
    evidence : str
        Its figure beside its control, in a sentence.
    action : str
        What to do about it, in a sentence.
    command : str or None
        The command that does it; None where nothing but judgement does.
    expect : str
        What it saves and what it costs, in a sentence.
    certainty : str
        One of :data:`CERTAINTIES`.
    share : float
        The share of the filters of the network that it concerns, or of its channels where it is about batch norms.
    places : tuple of Place
        Layers, those in which most filters are concerned first.
    figure : str
        What the figure of a place is.
    followed : Followed or None
        What came of following it, where images were given and it takes no long search.
    """

    name: str
    what: str
    evidence: str
    action: str
    command: str | None
    expect: str
    certainty: str
    share: float
    places: tuple[Place, ...]
    figure: str
    followed: Followed | None = None


@dataclass(frozen=True)
class Checkup:
    """What a check-up found.

    Parameters
    ----------
    model : str
        The network.
    source : str
        How ``scalekeys check`` names what was examined.
    layers, filters : int
        What was looked at.
    advice : tuple of Advice
        The most certain first, then those that concern most filters. Empty where nothing is wrong.
    audits : tuple of str
        The names of all audits that could be made.
    skipped : tuple of str
        What could not be looked at, and what it would need, in sentences.
    concerned : int
        How many of the filters stand in a layer, and at a position there, that a piece of advice names.

    Examples
    --------
    >>> Checkup("net", "net.pth", 2, 48, (), ("dead-filters", "lopsided"), (), 0).verdict
    'Nothing to do: none of the 2 audits has found anything.'
    """

    model: str
    source: str
    layers: int
    filters: int
    advice: tuple[Advice, ...]
    audits: tuple[str, ...]
    skipped: tuple[str, ...]
    concerned: int

    @property
    def verdict(self) -> str:
        """How many findings there are, how sure they are, and how many of the filters they concern, in a sentence."""
        if not self.advice:
            return f"Nothing to do: none of the {counted(len(self.audits), 'audit')} has found anything."
        counts = {word: sum(one.certainty == word for one in self.advice) for word in CERTAINTIES}
        told = [counted(count, HINT) if word == HINT else f"{count} {word}" for word, count in counts.items() if count]
        findings = f"{counted(len(self.advice), 'finding')}: {listed(told)}"
        return f"{findings}; filters concerned: {self.concerned} of {self.filters}."

    @property
    def legend(self) -> str:
        """What the words for certainty mean that occur, in sentences."""
        used = {one.certainty for one in self.advice}
        return " ".join(f"{word.capitalize()}: {means}." for word, means in CERTAINTIES.items() if word in used)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {"verdict": self.verdict, **asdict(self)}
