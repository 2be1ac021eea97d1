"""``scalekeys replace``: the same checkpoint with idealized depthwise filters."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalekeys.cli.commands.options import DISCRETIZATION_HELP, DiscretizationName

EXAMPLE = "Example: scalekeys replace model.pth -o jets.pth --model jet2 --keep 'stem*'"

Source = Annotated[
    str,
    typer.Argument(
        help="A checkpoint file or folder, timm:NAME, hf:NAME, builtin:NAME or https://SERVER/PATH.", show_default=False
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="The file to write, or the folder for a folder. What is no file needs .safetensors, .pth or .pt.",
        show_default=False,
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help="jet1 to jet3, sparse1 to sparse28, ideal8, a family or several with commas, auto; keys (the published "
        "ones, by the paper's rule), a .npy or .csv file of keys, method:A, B, C1, C2, D1 or D2 (templates with the "
        "paper's scales); noise.",
    ),
]
ChosenFrom = Annotated[
    str | None,
    typer.Option(
        metavar="NETWORK",
        help="Let the filters of this network be modelled instead: their models stand in the same layers and channels "
        "of the copy.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Replace in the layers of this name, with * for anything; may be repeated."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Leave the layers of this name as they are; may be repeated."),
]
MinR2 = Annotated[
    float | None,
    typer.Option("--min-r2", max=1, help="Replace only filters of whose energy the model explains this share."),
]
Criterion = Annotated[
    Literal["l2", "l1", "response", "variance", "variance-continuous"] | None,
    typer.Option(help="What decides the scales of a model that is fitted.  [default: l2]", show_default=False),
]
Scales = Annotated[
    Literal["per-axis", "common", "shared"] | None,
    typer.Option(help="Which scales it has.  [default: per-axis]", show_default=False),
]
Discretization = Annotated[
    DiscretizationName | None, typer.Option(help=f"{DISCRETIZATION_HELP}  [default: discrete]", show_default=False)
]
Weights = Annotated[
    str | None, typer.Option(help="Which entry of a nested checkpoint to change, for example params_ema.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the noise.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


def replace(
    source: Source,
    output: Output,
    model: ModelName = "jet2",
    chosen_from: ChosenFrom = None,
    layers: Layers = None,
    keep: Keep = None,
    min_r2: MinR2 = None,
    criterion: Criterion = None,
    scales: Scales = None,
    discretization: Discretization = None,
    weights: Weights = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Copy a trained network with its depthwise filters replaced by models of them.

    The copy has the format of the source and differs from it in nothing else.
    """
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.replace import print_outcome
    from scalekeys.cli.work.replace import Choice, Model, Names, replace_filters

    by = Model(model, criterion, scales, discretization, seed)
    choice = Choice(layers or None, keep or None, min_r2)
    names = Names(source, output, chosen_from, weights)
    with working() as step:
        outcome = replace_filters(names, model=by, choice=choice, force=force, step=step)
    if as_json:
        typer.echo(json.dumps(outcome.to_dict(), indent=2))
    else:
        print_outcome(outcome)
