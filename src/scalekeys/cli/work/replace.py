"""What ``scalekeys replace`` does: read a source, model its filters, choose which are replaced, write a copy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalekeys.checkpoints import check_copy, open_source, write_copy
from scalekeys.cli.work import Step
from scalekeys.cli.work.network_file import loading_copy
from scalekeys.filters import Replacement, replacement
from scalekeys.filters.replacement import taps_of
from scalekeys.fitting.spec import Criterion, Scales
from scalekeys.modelling import model_filters
from scalekeys.scalespace import Discretization

_CHOICE = " (choose with --weights)"  # which is for the source alone


@dataclass(frozen=True)
class Names:
    """What is read and written."""

    source: str
    output: Path
    chosen_from: str | None
    """Another network, whose filters are modelled in the place of those of the source."""
    weights: str | None
    """Which entry of a nested source is changed."""


@dataclass(frozen=True)
class Model:
    """What takes the place of the filters; the names are those of :func:`scalekeys.model_filters`."""

    model: str
    criterion: Criterion | None
    scales: Scales | None
    discretization: Discretization | None
    seed: int


@dataclass(frozen=True)
class Choice:
    """Which filters are replaced; the names are those of :func:`scalekeys.replacement`."""

    layers: Sequence[str] | None
    keep: Sequence[str] | None
    min_r2: float | None


@dataclass(frozen=True)
class Outcome:
    """What was written where, by which model."""

    names: Names
    model: Model
    chosen: Replacement
    loading: str
    """The Python statement that loads what was written."""
    notes: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """Depthwise parameters after the replacement."""
        return int(self.chosen.numbers.sum())

    @property
    def taps(self) -> int:
        """Depthwise parameters before."""
        return int(taps_of(self.chosen.bank).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that ``--json`` writes."""
        return {
            "source": self.names.source,
            "output": str(self.names.output),
            "chosen_from": self.names.chosen_from,
            **asdict(self.model),
            "filters": len(self.chosen.bank),
            "replaced": int(self.chosen.replaced.sum()),
            "taps": self.taps,
            "numbers": self.numbers,
            "models": self.chosen.to_pandas().to_dict("records"),
            "notes": list(self.notes),
            "left_out": [asdict(one) for one in self.chosen.bank.left_out],
        }


def replace_filters(names: Names, *, model: Model, choice: Choice, force: bool, step: Step) -> Outcome:
    """Write a copy of a source whose depthwise filters are replaced by their models, or those of another network."""
    step(f"reading {names.source}")
    opened = open_source(names.source, weights=names.weights)
    check_copy(opened, names.output, force=force)
    bank = chooser = opened.bank()
    notes = bank.notes
    if names.chosen_from is not None:
        step(f"reading {names.chosen_from}")
        chooser = open_source(names.chosen_from).bank()
        notes += tuple(f"{names.chosen_from}: {note.removesuffix(_CHOICE)}" for note in chooser.notes)
    progress = step(f"modelling {chooser.model} by {model.model}", len(chooser))
    modelled = model_filters(chooser, **vars(model), progress=progress)
    chosen = replacement(modelled, **vars(choice), into=None if names.chosen_from is None else bank)
    step(f"writing {names.output}")
    written = write_copy(opened, chosen, names.output, weights=names.weights, force=force)
    return Outcome(names, model, chosen, loading_copy(opened, names.output, names.weights), (*notes, *written))
