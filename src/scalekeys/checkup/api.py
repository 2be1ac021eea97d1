"""The entry to the check-up: a source or a fit in, advice out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from scalekeys.checkpoints import open_source
from scalekeys.checkpoints.core.kinds import DEPTHWISE, EVERY
from scalekeys.checkup.advice import CERTAINTIES, Advice, Checkup
from scalekeys.checkup.audits import AUDITS, NEEDS
from scalekeys.checkup.evidence import LEAST, Evidence
from scalekeys.checkup.following import followed
from scalekeys.checkup.naming import Named, Storage
from scalekeys.checkup.normalisations import BatchNorm, batch_norms_of
from scalekeys.checkup.responses import Responses
from scalekeys.errors import ModelError, counted
from scalekeys.filters import FilterBank
from scalekeys.fitting import Fit, fit
from scalekeys.fitting.spec import IDEAL, FitSpec
from scalekeys.networks.running.batches import Batches


def check(
    source: str | Path | nn.Module | FilterBank,
    *,
    images: Batches | None = None,
    data: Batches | None = None,
    size: int | Sequence[int] | None = None,
    seed: int = 0,
) -> Checkup:
    """Examine the kernels of a network, and say what to do about what is found.

    Parameters
    ----------
    source : str, Path, nn.Module or FilterBank
        What :func:`scalekeys.extract` reads, or a bank that it gave.
    images : iterable, optional
        A hundred or more preprocessed inputs in batches, in any form that data loaders give, for a module. With them
        filters that no input moves are found, responses are those to these images, and advice that can be followed
        quickly is: on every second input the changed network is matched to the original one, on the others both are
        compared.
    data : iterable, optional
        The same with labels: accuracy is compared.
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
    ModelError
        If there are fewer than 20 inputs, or they are given for something that does not run.
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
    responses = _responses(source, images, data)
    named, norms = Named(), None
    if isinstance(source, FilterBank):
        bank = source
    else:
        opened = open_source(source)
        bank, norms = opened.bank(), batch_norms_of(source if isinstance(source, nn.Module) else opened)
        if isinstance(source, str | Path):
            named = Named(str(source), storage=Storage.of(opened))
    return examined(
        Evidence(
            named,
            fit(bank),
            seed,
            sides=None if size is None else (size,) if isinstance(size, int) else tuple(size),
            norms=norms,
            responses=responses,
        )
    )


def _responses(source: object, images: Batches | None, data: Batches | None) -> Responses | None:
    if images is None and data is None:
        return None
    if images is not None and data is not None:
        raise ModelError("give either images without labels, or data with labels")
    if not isinstance(source, nn.Module):
        raise ModelError("images need a network that runs; give the module and not its weights")
    if data is not None:
        return Responses.of(source, data, labelled=True)
    assert images is not None
    return Responses.of(source, images, labelled=False)


def examined_fit(
    found: Fit, matched: Fit, source: Named | None = None, norms: tuple[BatchNorm, ...] | None = None
) -> Checkup:
    """Examine a network by the fits of its filters and of matched noise; by its own fits where these are of others.

    Parameters
    ----------
    found, matched : Fit
    source : Named, optional
        How commands name the network.
    norms : tuple of BatchNorm, optional
        Its batch norms, where they are known.
    """
    named = source or Named()
    if found.spec == FitSpec(IDEAL, found.spec.families):
        return examined(Evidence(named, found, known=matched, norms=norms))
    return examined(Evidence(named, fit(found.bank), norms=norms))


def examined(evidence: Evidence) -> Checkup:
    """Make all audits of a network of which a fit is known, and put the most certain advice first."""
    needs = {name: needed for name, needs in NEEDS.items() if (needed := needs(evidence)) is not None}
    audits = {name: audit for name, audit in AUDITS.items() if name not in needs}
    found = [advice for audit in audits.values() if (advice := audit(evidence)) is not None]
    bank, few = evidence.bank, len(evidence.bank.layers) - len(evidence.layers)
    skipped = list(needs.values())
    if few:
        skipped.insert(0, f"{counted(few, 'layer')} with fewer than {LEAST} live filters can show dead filters only")
    source, kinds = evidence.source.given, {layer.kind for layer in bank.layers}
    if kinds != {DEPTHWISE}:
        found = [replace(advice, command=None) for advice in found]
        skipped.append("commands change depthwise layers alone, so that none is given where other kinds are read")
        source += f" --kinds {kinds.pop() if len(kinds) == 1 else EVERY}"
    if evidence.responses is not None:
        found = [followed(advice, evidence.responses) for advice in found]
    return Checkup(
        bank.model,
        source,
        len(bank.layers),
        len(bank),
        tuple(sorted(found, key=lambda advice: (list(CERTAINTIES).index(advice.certainty), -advice.share))),
        tuple(audits),
        tuple(skipped),
        _concerned(bank, found),
    )


def _concerned(bank: FilterBank, found: Sequence[Advice]) -> int:
    """Count the filters that some advice concerns; places that are no layers of filters, such as batch norms, aside."""
    named: dict[str, set[int]] = defaultdict(set)
    for place in (place for advice in found for place in advice.places):
        named[place.layer].update(place.channels or range(place.of))
    return sum(len(named[layer.name]) for layer in bank if layer.name in named)
