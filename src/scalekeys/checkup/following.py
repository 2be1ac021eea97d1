"""Offers followed: what a command would save and cost, measured on the images that are given."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from torch import nn

from scalekeys.checkup.advice import Advice, Followed
from scalekeys.checkup.audits.life import kept_multiple
from scalekeys.checkup.responses import Responses
from scalekeys.errors import ModelError, ScaleKeysError
from scalekeys.networks import crop, evaluate, output_error, prune_dead, separate
from scalekeys.networks.measuring.same_outputs import parameter_count


def followed(advice: Advice, responses: Responses) -> Advice:
    """Do what a piece of advice says, if it is one that can be done quickly, and measure what it saves and costs."""
    follow = OFFERS.get(advice.name)
    if follow is None or advice.command is None:
        return advice
    try:
        network = follow(advice, responses)
        return replace(advice, followed=_measured(network, responses))
    except ScaleKeysError as error:
        return replace(advice, followed=Followed(f"It could not be done to this network: {error}"))


def _pruned(advice: Advice, responses: Responses) -> nn.Module:
    multiple = kept_multiple(advice.places)
    found = prune_dead(responses.network, responses.inputs[0][:2], images=responses.inputs, multiple_of=multiple)
    return _changed(found.module, found.removed, found.reasons)


def _cropped(_: Advice, responses: Responses) -> nn.Module:
    found = crop(responses.network, responses.learning)
    return _changed(found.module, found.layers, found.left.values())


def _separated(_: Advice, responses: Responses) -> nn.Module:
    found = separate(responses.network, responses.inputs[0][:1], batches=responses.learning, runtime=None)
    return _changed(found.module, found.layers, found.left.values())


def _changed(network: nn.Module, done: object, reasons: Iterable[str]) -> nn.Module:
    """Return a network that was changed, or refuse one that was not, as the command does.

    Raises
    ------
    ModelError
    """
    if not done:
        raise ModelError(f"nothing changes ({'; '.join(dict.fromkeys(reasons)) or 'nothing is found'})")
    return network


OFFERS: Mapping[str, Callable[[Advice, Responses], nn.Module]] = {
    "dead-filters": _pruned,
    "too-large": _cropped,
    "separable": _separated,
}
"""What follows an offer, by the name of the audit, as its command does by default."""


def _measured(network: nn.Module, responses: Responses) -> Followed:
    numbers = parameter_count(responses.network), parameter_count(network)
    told = f"Done to this network, {numbers[0]:,} parameters become {numbers[1]:,}"
    if responses.before is not None:
        before, after = responses.before, evaluate(network, responses.measuring)
        difference = after.difference(before)
        change, low, high = (100 * share for share in (difference.value, *difference.interval))
        return Followed(
            f"{told}, and top-1 accuracy on {after.count} other images goes from {100 * before.top1:.1f} to "
            f"{100 * after.top1:.1f} % ({change:+.1f} points, 95 % from {low:+.1f} to {high:+.1f}).",
            numbers,
            after.count,
            "points of top-1",
            change,
            (low, high),
        )
    error = output_error(network, responses.network, responses.measuring)
    low, high = error.interval
    return Followed(
        f"{told}, and the outputs for {len(error.errors)} other images change by {error.value:.2g} of their variance "
        f"over the images (95 % from {low:.2g} to {high:.2g}).",
        numbers,
        len(error.errors),
        "change of outputs",
        error.value,
        error.interval,
    )
