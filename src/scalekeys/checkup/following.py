"""Offers followed: what a command would save and cost, measured on the images that are given."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from scalekeys.checkup.advice import Advice, Followed
from scalekeys.checkup.audits.life import multiple_kept
from scalekeys.checkup.responses import Responses
from scalekeys.errors import ModelError, ScaleKeysError
from scalekeys.networks import crop, evaluate, output_error, prune_dead, separate


def followed(advice: Advice, responses: Responses) -> Advice:
    """Do what a piece of advice says, if it is one that can be done quickly, and measure what it saves and costs."""
    follow = OFFERS.get(advice.name)
    if follow is None:
        return advice
    try:
        network = follow(responses, advice)
        return replace(advice, followed=_measured(network, responses))
    except ScaleKeysError as error:
        return replace(advice, followed=Followed(f"It could not be done to this network: {error}"))


def _pruned(responses: Responses, advice: Advice) -> nn.Module:
    example, multiple = responses.inputs[0][:2], multiple_kept(advice.places)
    pruning = prune_dead(responses.network, example, images=responses.inputs, multiple_of=multiple)
    if not pruning.removed:
        raise ModelError(f"no filter is removed ({pruning.why_none})")
    return pruning.module


def _cropped(responses: Responses, _: Advice) -> nn.Module:
    return crop(responses.network, responses.learning).module


def _separated(responses: Responses, _: Advice) -> nn.Module:
    return separate(responses.network, responses.inputs[0][:1], batches=responses.learning, runtime=None).module


OFFERS: Mapping[str, Callable[[Responses, Advice], nn.Module]] = {
    "dead-filters": _pruned,
    "too-large": _cropped,
    "separable": _separated,
}
"""What follows an offer, by the name of the audit, as its command does."""


def _measured(network: nn.Module, responses: Responses) -> Followed:
    numbers = _parameters(responses.network), _parameters(network)
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


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
