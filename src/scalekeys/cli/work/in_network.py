"""What ``scalekeys replace --in-network`` does: fit filters inside their network, and write a copy of its weights."""

from dataclasses import dataclass
from pathlib import Path

from scalekeys.checkpoints import check_copy, open_source, write_copy
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.cli.work import Step
from scalekeys.cli.work.learning_images import Data, read_images, work_file
from scalekeys.cli.work.network_file import loading_copy
from scalekeys.cli.work.replace import Choice, Model, Names, Outcome
from scalekeys.filters import replacement
from scalekeys.filters.choice import wanted_layers
from scalekeys.networks import fit_in_network
from scalekeys.training.network_source import open_network

_HINT = (
    "batch-norm statistics are those of the source; scalekeys evaluate NETWORK --checkpoint FILE --reference SOURCE "
    "--recalibrate 250 tells what matching them is worth"
)


@dataclass(frozen=True)
class Learning:
    """What a fit inside a network needs beside the network."""

    checkpoint: Path | None
    """The weights of the network, of which a copy is written; by default those of its name, as a state dict."""
    data: Data


def replace_in_network(
    names: Names, learning: Learning, *, model: str, choice: Choice, force: bool, step: Step
) -> Outcome:
    """Write a copy of the weights of a network whose depthwise filters are fitted for what the network does."""
    step(f"reading {names.source}")
    network = open_network(names.source, checkpoint=learning.checkpoint, weights=names.weights)
    own = open_module(network.module)
    opened = own if learning.checkpoint is None else open_source(learning.checkpoint, weights=names.weights)
    check_copy(opened, names.output, force=force)
    bank = own.bank()
    wanted = wanted_layers(bank, choice.layers, choice.keep)
    layers = [layer.name for layer, mine in zip(bank, wanted, strict=True) if mine]
    shares = read_images(network, learning.data, step, labelled=False)
    options = {"--layers and --keep": layers, "--model": model, "--seed": learning.data.seed}
    work = work_file(names.output, network, shares, options)
    progress = step(f"fitting {bank.model} layer by layer", len(layers))
    fitted = fit_in_network(
        network.module,
        shares.inputs,
        tuple(model.split(",")) if "," in model else model,
        layers=layers,
        seed=learning.data.seed,
        progress=progress,
        keep=work.keep,
    )
    chosen = replacement(fitted, layers=layers)
    if opened is not own:
        chosen = replacement(chosen, into=opened.bank())
    step(f"writing {names.output}")
    written = write_copy(opened, chosen, names.output, weights=names.weights, force=force)
    work.clear()
    by = Model(model, "response", None, None, learning.data.seed)
    load = loading_copy(opened, names.output, names.weights)
    return Outcome(names, by, chosen, load, (*network.notes, *work.notes, *written, _HINT))
