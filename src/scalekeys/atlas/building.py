"""Many checkpoints into one atlas: what is missing is analysed, what is there is kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scalekeys.atlas.cluster import Ray
from scalekeys.atlas.engines import Engine, InProcess, Lost, Processes
from scalekeys.atlas.identity import signatures
from scalekeys.atlas.journal import Entry, Journal
from scalekeys.atlas.layout import DEPTHWISE, Layout
from scalekeys.atlas.recovery import restore
from scalekeys.atlas.references import Reference, check_columns, expand
from scalekeys.atlas.settling import settle
from scalekeys.atlas.task import Failed, Outcome, Read, Task, Unwritable, analyse, holds
from scalekeys.errors import OutputError, printable
from scalekeys.files import expanded
from scalekeys.filters import LeftOut


@dataclass(frozen=True)
class Summary:
    """What an atlas holds after a run.

    Parameters
    ----------
    networks, filters : int
        Of different content.
    duplicates : int
        Sources whose content is that of another one.
    failures : tuple of (str, str)
        Sources that were not read, and why.
    analysed, kept : int
        Sources of this run that were looked into, and those that have not changed since an earlier one.
    left_out : tuple of (str, LeftOut)
        Sources that were read, and what of each looks like a kernel and was not.
    """

    networks: int
    filters: int
    duplicates: int
    failures: tuple[tuple[str, str], ...]
    analysed: int
    kept: int
    left_out: tuple[tuple[str, LeftOut], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        failures = [{"source": source, "reason": reason} for source, reason in self.failures]
        left_out = [{"network": source, **asdict(one)} for source, one in self.left_out]
        return {**asdict(self), "failures": failures, "left_out": left_out}


def build(
    sources: Iterable[str | Path | Reference],
    folder: str | Path,
    *,
    workers: int = 0,
    ray: str | None = None,
    seed: int = 0,
    kinds: str = DEPTHWISE,
    recheck: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Analyse many checkpoints into the tables of a folder, or go on where an earlier run ended.

    Each network is fitted with the eight families and with the 2-jet, by least squares, beside white noise and matched
    noise. Run again, it does only what is missing: sources that are new, have changed, or failed before. Sources of
    earlier runs that are not named stay. The tables depend neither on interruptions and workers nor on the order of the
    sources.

    Parameters
    ----------
    sources : iterable of str, Path or Reference
        Paths, patterns, lists and names on hubs; see :func:`expand`.
    folder : str or Path
        Of the atlas.
    workers : int
        How many processes to work in; 0 for this one. In a script, processes need ``if __name__ == "__main__":``. With
        `ray`: how many processors to use, 0 for all.
    ray : str, optional
        Address of a Ray cluster whose machines share the folders, or ``"local"`` to start one here.
    seed : int
        Of the noise; one for the whole atlas.
    kinds : str
        The kinds of convolutions to read, as :func:`scalekeys.extract` names them; the same for the whole atlas.
    recheck : bool
        Read all sources again, also files that were not touched since, and models on hubs.
    progress : callable, optional
        Called with the number of sources done since the last call.

    Returns
    -------
    Summary

    Raises
    ------
    CheckpointError
        If a pattern or a list is at fault. A checkpoint that is gets a row in the table of failures instead.
    AtlasError
        If the folder holds an atlas that cannot be gone on with, or there are no workers to be had.
    OutputError
        If the folder cannot be written, for one because its name is not in UTF-8; what is done is kept.
    MissingExtraError
        If Ray is asked for and is not installed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "atlas"
    >>> build(["builtin:master-keys"], folder).filters
    8
    >>> build(["builtin:master-keys"], folder).kept
    1
    """
    references = expand(sources)
    layout = Layout(expanded(folder).absolute())
    done = progress or (lambda _: None)
    engine = _engine(workers, ray)
    with layout.building(seed, kinds):
        journal = Journal(layout.journal)
        restore(journal.entries, layout)
        check_columns([*(entry.reference for entry in journal.entries.values()), *references])
        tasks = partial(Task, atlas=str(layout.folder), seed=seed, kinds=kinds)
        missing = _missing(references, journal, layout, tasks, recheck=recheck, kept=lambda: done(1))
        analysed = 0
        with closing(engine.run(analyse, missing)) as outcomes:
            for task, outcome in outcomes:
                journal.append(Entry(task.reference, task.signature, _checked(task, outcome)))
                analysed += 1
                done(1)
        settle(layout, journal)
    return summary_of(journal.entries, analysed=analysed, kept=len(references) - analysed)


def _engine(workers: int, ray: str | None) -> Engine:
    if ray is not None:
        return Ray(ray, workers)
    return Processes(workers) if workers else InProcess()


def _missing(
    references: Sequence[Reference],
    journal: Journal,
    layout: Layout,
    task_of: Callable[[Reference, str], Task],
    *,
    recheck: bool,
    kept: Callable[[], None],
) -> Iterator[Task]:
    """Yield a task for each source without rows of its present state; of the others, note new metadata."""
    for reference, sign in signatures(references):
        known = journal.entries.get(reference.source)
        whole = (known.reference if known else Reference(reference.source)).with_metadata(reference.metadata)
        if recheck or known is None or not _is_current(known, sign, layout):
            yield task_of(whole, sign or "")
            continue
        if known.reference != whole:
            journal.append(replace(known, reference=whole))
        kept()


def _is_current(known: Entry, sign: str | None, layout: Layout) -> bool:
    """Tell whether the rows of a source are there, in the current form, and of its present state as far as is known."""
    outcome = known.outcome
    unchanged = sign is None or "" != sign == known.signature
    return isinstance(outcome, Read) and unchanged and holds(layout.rows_of(outcome.content))


def _checked(task: Task, outcome: Outcome | Lost) -> Read | Failed:
    """Return what the journal keeps; raises OutputError if rows could not be written."""
    if isinstance(outcome, Unwritable):
        raise OutputError(f"{outcome.reason}; what is done is kept, so make room and run again")
    if isinstance(outcome, Lost):
        return Failed("WorkerDied", f"{task.reference.source}: {outcome.reason}")
    return outcome


def summary_of(entries: Mapping[str, Entry], *, analysed: int, kept: int) -> Summary:
    """Count what the sources of an atlas hold."""
    read = [entry.outcome for entry in entries.values() if isinstance(entry.outcome, Read)]
    filters = {outcome.content: outcome.filters for outcome in read}
    failures = tuple(
        (printable(source), entry.outcome.reason)
        for source, entry in entries.items()
        if isinstance(entry.outcome, Failed)
    )
    left_out = tuple(
        (source, one)
        for source, entry in entries.items()
        if isinstance(entry.outcome, Read)
        for one in entry.outcome.left_out
    )
    return Summary(len(filters), sum(filters.values()), len(read) - len(filters), failures, analysed, kept, left_out)
