"""``scalekeys replace``: the same checkpoint with idealized depthwise filters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys replace model.pth -o jets.pth --model jet2 --keep 'stem*'"

Output = Annotated[
    Path,
    options.output(
        "File to write, or folder if SOURCE is one. For timm:, hf:, builtin: a .safetensors, .pth or .pt file."
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help="jet1 to jet3, sparse1 to sparse28, ideal8, a family or several with commas, auto; keys (the published "
        "ones, by the paper's rule), a .npy or .csv file of keys, method:A, B, C1, C2, D1 or D2 (templates with the "
        "paper's scales); copies (of filters of the same layer); noise.",
    ),
]
ChosenFrom = Annotated[
    str | None,
    typer.Option(
        metavar="NETWORK",
        help="Model the filters of this other network, and put the models into the same layers and channels "
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
    typer.Option(
        "--min-r2",
        max=1,
        help="Replace only filters with at least this r2, the share of energy that the model explains.",
    ),
]
Criterion = Annotated[
    Literal["l2", "l1", "response", "variance", "variance-continuous"] | None,
    typer.Option(help="What the fit of a model minimises.  [default: l2]", show_default=False),
]
Scales = Annotated[
    Literal["per-axis", "common", "shared"] | None,
    typer.Option(
        help="Whether a model has one scale for each axis, one for all, or shares it.  [default: per-axis]",
        show_default=False,
    ),
]
Discretization = Annotated[
    options.DiscretizationName | None,
    typer.Option(help=f"{options.DISCRETIZATION_HELP}  [default: discrete]", show_default=False),
]
InNetwork = Annotated[
    bool,
    typer.Option(
        "--in-network",
        help="Fit models, layer by layer, so that the outputs of the network on the images of --data change "
        "least. SOURCE is then a network that runs, such as FILE.py:FUNCTION, as for scalekeys evaluate.",
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="With --in-network: file of weights of the network; a changed copy is written.")
]
Data = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="With --in-network: images without labels, or hf:NAME[:SPLIT].")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="With --in-network: how many of the images to use, drawn at random.")
]


def replace(
    source: options.Source,
    output: Output,
    model: ModelName = "jet2",
    chosen_from: ChosenFrom = None,
    layers: Layers = None,
    keep: Keep = None,
    min_r2: MinR2 = None,
    criterion: Criterion = None,
    scales: Scales = None,
    discretization: Discretization = None,
    weights: options.Weights = None,
    in_network: InNetwork = False,
    checkpoint: Checkpoint = None,
    data: Data = None,
    limit: Limit = 250,
    size: options.Size = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
    seed: options.Seed = 0,
    force: options.Force = False,
    as_json: options.AsJson = False,
) -> None:
    """Copy a network with its depthwise filters replaced by models.

    The copy has the format of the source and differs from the source only in these filters. A run with --in-network
    that was interrupted continues where it stopped when the same command is given again.
    """
    elsewhere = {"--chosen-from": chosen_from, "--min-r2": min_r2, "--criterion": criterion, "--scales": scales}
    _check_sense(
        {"--data": data, "--checkpoint": checkpoint}, elsewhere | {"--discretization": discretization}, in_network
    )
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    folder, file = (output, None) if output.is_dir() else (None, output)
    options.check_paths(source, takes_code=True, folder=folder, file=file, force=force)
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.replace import print_outcome
    from scalekeys.cli.show.result import print_result
    from scalekeys.cli.work.replace import Choice, Model, Names, replace_filters

    by = Model(model, criterion, scales, discretization, seed)
    choice = Choice(layers or None, keep or None, min_r2)
    names = Names(source, output, chosen_from, weights)
    with working() as step:
        if data is None:
            outcome = replace_filters(names, model=by, choice=choice, force=force, step=step)
        else:
            from scalekeys.cli.work.in_network import Learning, replace_in_network
            from scalekeys.cli.work.learning_images import Data as LearningData

            learning = Learning(checkpoint, LearningData(data, None, limit, figures(), seed))
            outcome = replace_in_network(names, learning, model=model, choice=choice, force=force, step=step)
    print_result(outcome, print_outcome, as_json=as_json)


def _check_sense(needed: Mapping[str, object], elsewhere: Mapping[str, object], in_network: bool) -> None:
    """Refuse options that go with --in-network alone, or never."""
    if in_network and needed["--data"] is None:
        raise typer.BadParameter("needs images: give --data", param_hint="--in-network")
    for name, value in (elsewhere if in_network else needed).items():
        if value is not None:
            why = "does not go with --in-network, which fits to responses" if in_network else "goes with --in-network"
            raise typer.BadParameter(why, param_hint=name)
