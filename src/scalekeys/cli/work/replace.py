"""What ``scalekeys replace`` does: read a source, model its filters, choose which are replaced, write a copy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalekeys.checkpoints import check_copy, open_source, write_copy
from scalekeys.cli.work.step import Step
from scalekeys.filters import Replacement, replacement
from scalekeys.filters.replacement import taps_of
from scalekeys.fitting.spec import Criterion, Scales
from scalekeys.modelling import model_filters


@dataclass(frozen=True)
class Model:
    """What takes the place of the filters; the names are those of :func:`scalekeys.model_filters`."""

    model: str
    criterion: Criterion | None
    scales: Scales | None
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

    source: str
    output: Path
    model: Model
    chosen: Replacement
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
            "source": self.source,
            "output": str(self.output),
            **asdict(self.model),
            "filters": len(self.chosen.bank),
            "replaced": int(self.chosen.replaced.sum()),
            "taps": self.taps,
            "numbers": self.numbers,
            "models": self.chosen.to_pandas().to_dict("records"),
            "notes": list(self.notes),
            "left_out": [asdict(one) for one in self.chosen.bank.left_out],
        }


def replace_filters(
    source: str, output: Path, *, model: Model, choice: Choice, weights: str | None, force: bool, step: Step
) -> Outcome:
    """Write a copy of a source whose depthwise filters are replaced by their models."""
    step(f"reading {source}")
    opened = open_source(source, weights=weights)
    check_copy(opened, output, force=force)
    bank = opened.bank()
    modelled = model_filters(bank, **vars(model), progress=step(f"modelling {bank.model} by {model.model}", len(bank)))
    chosen = replacement(modelled, **vars(choice))
    step(f"writing {output}")
    notes = write_copy(opened, chosen, output, weights=weights, force=force)
    return Outcome(source, output, model, chosen, (*bank.notes, *notes))
