"""The entry to the check-up: a source or a fit in, advice out."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import torch

from scalekeys.checkpoints import extract
from scalekeys.checkup.advice import CERTAINTIES, Advice, Checkup
from scalekeys.checkup.audits import AUDITS, NEEDS
from scalekeys.checkup.evidence import LEAST, Evidence
from scalekeys.errors import counted
from scalekeys.filters import FilterBank
from scalekeys.fitting import fit


def check(
    source: "str | Path | torch.nn.Module | FilterBank", *, size: int | Sequence[int] | None = None, seed: int = 0
) -> Checkup:
    """Examine the kernels of a network, and say what to do about what is found.

    Parameters
    ----------
    source : str, Path, nn.Module or FilterBank
        What :func:`scalekeys.extract` reads, or a bank that it gave.
    size : int or sequence of int, optional
        The sides of the inputs in pixels (samples), (rows, cols) for images; one number for equal sides. The audit
        ``reach`` needs it.
    seed : int
        Of the matched noise beside which the filters are judged.

    Returns
    -------
    Checkup
        Without advice where nothing is wrong.

    Raises
    ------
    CheckpointError
        If the source cannot be read, or has no depthwise layers.
    FilterError
        If a side of the inputs is below 1, or there are not as many as the kernels have axes.

    Examples
    --------
    >>> import torch, scalekeys as sk
    >>> layer = torch.nn.Conv2d(64, 64, 7, groups=64)
    >>> with torch.no_grad():
    ...     layer.weight[:16] = 0
    >>> [(advice.name, round(advice.share, 2)) for advice in sk.check(torch.nn.Sequential(layer)).advice]
    [('dead-filters', 0.25), ('not-formed', 1.0)]
    """
    bank = source if isinstance(source, FilterBank) else extract(source)
    name = str(source) if isinstance(source, str | Path) else "NETWORK"
    sides = None if size is None else (size,) if isinstance(size, int) else tuple(size)
    return examined(Evidence(quote(name), fit(bank), seed, sides=sides))


def examined(evidence: Evidence) -> Checkup:
    """Make all audits of a network of which a fit is known, and put the most valuable advice first."""
    needs = {name: needed for name, needs in NEEDS.items() if (needed := needs(evidence)) is not None}
    audits = {name: audit for name, audit in AUDITS.items() if name not in needs}
    found = [advice for audit in audits.values() if (advice := audit(evidence)) is not None]
    bank, few = evidence.bank, len(evidence.bank.layers) - len(evidence.layers)
    skipped = list(needs.values())
    if few:
        skipped.insert(0, f"{counted(few, 'layer')} with fewer than {LEAST} live filters can show dead filters only")
    return Checkup(
        bank.model,
        len(bank.layers),
        len(bank),
        tuple(sorted(found, key=_order)),
        tuple(audits),
        tuple(skipped),
    )


def _order(advice: Advice) -> tuple[int, float]:
    return CERTAINTIES.index(advice.certainty), -advice.share
