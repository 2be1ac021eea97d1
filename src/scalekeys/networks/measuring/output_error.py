"""How far the outputs of a changed network are from those of the original, and how well that is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import Batches, evaluating, inputs_of, logits_of, run_network
from scalekeys.proportions import Z_95


@dataclass(frozen=True, eq=False)
class OutputError:
    """The squared change of the outputs of a network, input by input.

    Parameters
    ----------
    errors : Tensor, shape (inputs,), float64
        Squared distance of the outputs for an input from those of the original network.
    spread : Tensor, shape (inputs,), float64
        Squared distance of the outputs of the original network from their mean over the inputs.
    """

    errors: Float[Tensor, "inputs"]
    spread: Float[Tensor, "inputs"]

    @classmethod
    def of(cls, outputs: Float[Tensor, "inputs outputs"], original: Float[Tensor, "inputs outputs"]) -> "OutputError":
        """Compare outputs; those that are not finite are infinitely far. Raises ModelError if their shapes differ."""
        if outputs.shape != original.shape:
            raise ModelError(
                f"the networks give {outputs.shape[1]} and {original.shape[1]} numbers for each input, which cannot be "
                "compared; give networks with outputs of the same shape"
            )
        errors = (outputs - original).square().sum(1).nan_to_num(torch.inf, torch.inf)
        return cls(errors, (original - original.mean(0)).square().sum(1))

    def __repr__(self) -> str:
        low, high = self.interval
        return f"OutputError({self.value:.3f}, 95 % from {low:.3f} to {high:.3f}; {len(self.errors)} inputs)"

    @property
    def value(self) -> float:
        """The squared change as a share of the variance of the original outputs over the inputs; 0 for no change."""
        return float(self.errors.sum() / self._total)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share on inputs of this kind lies with 95 % confidence; from 0 to infinity for a single input.

        Notes
        -----
        The share is a ratio of two sums over the inputs. Its standard error is that of the linearised ratio.
        """
        count, value = len(self.errors), self.value
        if count < 2 or value == torch.inf:
            return 0.0, torch.inf
        rest = (self.errors - value * self.spread).square().sum() * count / (count - 1)
        half = Z_95 * float(rest.sqrt() / self._total)
        return max(0.0, value - half), value + half

    @property
    def _total(self) -> Tensor:
        return self.spread.sum().clamp_min(torch.finfo(torch.float64).tiny)


def output_error(module: nn.Module, original: nn.Module, batches: Batches) -> OutputError:
    """Compare the outputs of a network with those of another on the same inputs, for which no labels are needed.

    Parameters
    ----------
    module, original : nn.Module
        Networks with outputs of the same shape.
    batches : iterable
        Batches of inputs, in any form that data loaders give.

    Raises
    ------
    ModelError
        If there are no inputs, or a network gives no tensor of outputs for each input, or one of another shape than the
        other network.

    Examples
    --------
    >>> one, two = nn.Linear(4, 2), nn.Linear(4, 2)
    >>> output_error(one, one, torch.eye(4)).value, output_error(two, one, torch.eye(4)).value > 0
    (0.0, True)
    """
    inputs = list(filter(len, inputs_of(batches, original)))
    if not inputs:
        raise ModelError("the batches hold no inputs; give at least one")
    return OutputError.of(outputs_of(module, inputs), outputs_of(original, inputs))


def outputs_of(network: nn.Module, inputs: Sequence[Tensor]) -> Float[Tensor, "inputs outputs"]:
    """Return what a network gives for each input, in float64."""
    parts = []
    with evaluating(network), torch.no_grad():
        for number, batch in enumerate(inputs_of(inputs, network), start=1):
            found = logits_of(run_network(network, batch))
            if found is None:
                raise ModelError(f"batch {number}: the network gives no tensor; give one that returns tensors")
            if not found.ndim or len(found) != len(batch):
                raise ModelError(
                    f"batch {number}: the network gives a tensor of shape {tuple(found.shape)} for inputs of shape "
                    f"{tuple(batch.shape)}, not outputs for each of them; give batches of inputs"
                )
            parts.append(found.reshape(len(found), -1).double().cpu())
    return torch.cat(parts)
