"""``scalekeys keys``: the few filters behind the many of one network or more."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalekeys.cli.commands import options

EXAMPLE = "Example: scalekeys keys model.pth other.safetensors -k 8 -o keys/"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        help="Checkpoint files or folders, timm:NAME, hf:NAME, builtin:NAME or https://SERVER/PATH; with --eliminate "
        "optional.",
        show_default=False,
    ),
]
Output = Annotated[Path, options.output("Folder for report, keys and members.")]
Number = Annotated[
    str, typer.Option("-k", metavar="NUMBER|auto", help="How many keys; auto takes the recommended number.")
]
Restarts = Annotated[int, typer.Option(min=1, help="How many random starts the search makes; the best result counts.")]
Weighting = Annotated[
    Literal["equal", "energy"], typer.Option(help="Whether all filters count equally, or by their energy.")
]
Symmetry = Annotated[
    Literal["none", "dihedral"], typer.Option(help="With dihedral, turned and mirrored filters share a key.")
]
Sizes = Annotated[
    str,
    typer.Option(
        metavar="largest|common|SIZE",
        help="Pad kernels to the largest size, crop them to the smallest, or take one size only: 7x7, 31, 5x3x3.",
    ),
]
Axes = Annotated[
    int | None,
    typer.Option(
        min=1, max=3, help="How many axes the kernels have; by default as many as most of them.", show_default=False
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Take the layers of this name, with * for anything; may be repeated."),
]
Threshold = Annotated[
    float, typer.Option(min=0, max=1, help="Correlation with its key from which on a filter counts as covered.")
]
NoCurve = Annotated[
    bool,
    typer.Option(
        "--no-curve",
        help="Do not measure how well other numbers of keys explain the filters, which takes a minute. The "
        "curve of --eliminate is measured in any case.",
    ),
]
Eliminate = Annotated[
    bool, typer.Option("--eliminate", help="Of many candidates, find the keys without which a network suffers most.")
]
HoldOut = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Also measure how well keys of some networks explain other networks. SOURCE is a .csv list with "
        "the columns source and COLUMN, such as task; networks with the same value in COLUMN form a "
        "group, and each group is left out in turn.",
    ),
]
By = Annotated[
    Literal["accuracy", "outputs", "responses"],
    typer.Option(
        help="How the cost of a missing candidate is measured: by accuracy, by the change of the outputs "
        "(needs no labels), or by the change of the responses of the filters (computed, and fastest).",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(metavar="NETWORK", help="Network to measure: timm:NAME, hf:NAME, builtin:NAME, or FILE.py:FUNCTION."),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="File of weights of the network to measure; by default the weights of its name.")
]
Data = Annotated[
    str | None, typer.Option(help="Images to measure on: a folder with a folder for each class, or hf:NAME[:SPLIT].")
]
ImageCount = Annotated[
    int,
    typer.Option(
        min=2, help="How many images to use, drawn at random: one half decides, accuracy is measured on the other."
    ),
]
Candidates = Annotated[
    str, typer.Option(metavar="NUMBER|all", help="How many candidates to start with; all: every filter is a candidate.")
]
Draws = Annotated[int, typer.Option(min=1, help="How many draws of random candidates, and of noise, to compare with.")]


_WHOLE: dict[str, Literal["largest", "common"]] = {"largest": "largest", "common": "common"}


_ELIMINATION = (
    *("by", "network", "checkpoint", "data", "labels", "images", "candidates", "draws"),
    *("size", "crop_pct", "mean", "std", "interpolation", "grey"),
)
"""Options that only an elimination has."""


def keys(
    context: typer.Context,
    output: Output,
    sources: Sources = None,
    number: Number = "8",
    seed: options.Seed = 0,
    restarts: Restarts = 10,
    weighting: Weighting = "equal",
    symmetry: Symmetry = "none",
    sizes: Sizes = "largest",
    axes: Axes = None,
    layers: Layers = None,
    weights: options.Weights = None,
    kinds: options.Kinds = "depthwise",
    threshold: Threshold = 0.8,
    no_curve: NoCurve = False,
    force: options.Force = False,
    as_json: options.AsJson = False,
    hold_out: HoldOut = None,
    eliminate: Eliminate = False,
    by: By = "accuracy",
    network: Network = None,
    checkpoint: Checkpoint = None,
    data: Data = None,
    labels: options.Labels = None,
    images: ImageCount = 200,
    candidates: Candidates = "64",
    draws: Draws = 3,
    size: options.Size = None,
    crop_pct: options.CropPct = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolate = None,
    grey: options.Grey = False,
) -> None:
    """Find keys: a few filters that stand for groups of similar filters.

    A filter belongs to the key that comes closest to it with a factor and an offset. Writes OUTPUT/report.html (one
    self-contained page), keys.npy and keys.csv, and members.parquet (one row a filter).

    With --eliminate the keys are those without which a network suffers most: the candidate whose absence costs least is
    dropped, again and again, and the accuracy is measured for several numbers of keys, beside random candidates and
    noise. With --hold-out, held_out.csv has a row for each network of a list: how much of its filters is explained by
    keys that were found without its group, by keys of its own group, by the published keys, and by keys of noise.
    """
    k, wanted = _number_of_keys(number, compared=not no_curve), _sizes(sizes)
    given = [name for name in _ELIMINATION if _is_given(context, name)]
    if not eliminate and given:
        raise typer.BadParameter("goes with --eliminate only", param_hint=f"--{given[0].replace('_', '-')}")
    if not (sources or eliminate):
        raise typer.BadParameter("give one source or more, or --eliminate with a network", param_hint="SOURCE")
    if eliminate:
        _check_elimination(network, data, symmetry=symmetry, kinds=kinds)
        count = _candidates(candidates, k)
    figures = options.figures_of(size, crop_pct, mean, std, interpolation, grey)
    from scalekeys.checkpoints.sources.paths import has_wildcard

    named = [source for source in sources or () if hold_out is None or not has_wildcard(source)]
    options.check_paths(*named, network=network, checkpoint=checkpoint, folder=output, force=force)
    from scalekeys.cli.show.keys import print_keys
    from scalekeys.cli.show.progress import working
    from scalekeys.cli.show.result import print_result
    from scalekeys.cli.work.eliminate import Task, open_task
    from scalekeys.cli.work.hold_out import grouped
    from scalekeys.cli.work.hold_out import hold_out as held_out
    from scalekeys.cli.work.keys import find_keys, read_banks
    from scalekeys.cli.work.search import Search
    from scalekeys.files import new_folder

    task = None
    if eliminate:
        shown = str(network), checkpoint, weights, str(data), labels
        task = Task(*shown, images, by, count, draws, figures(), seed)
    groups: list[str] = []
    if hold_out is not None:
        sources, groups = grouped(sources or [], hold_out)
    search = Search(seed, restarts, weighting, symmetry, wanted, axes, layers or None)
    with working() as step:
        opened = None if task is None else open_task(task, step)
        banks = read_banks(sources or [], weights=weights, kinds=kinds, step=step)
        if opened is not None and not banks:
            banks = [opened.bank]
        with new_folder(output, force=force) as folder:
            summary = find_keys(
                banks, folder, k=k, search=search, threshold=threshold, curve=not no_curve, opened=opened, step=step
            )
            if hold_out is not None:
                found = held_out(banks, groups, hold_out, folder, len(summary.keys), search, step)
                summary = replace(summary, held_out=found)
    print_result(summary, print_keys, output, as_json=as_json)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_elimination(network: str | None, data: str | None, *, symmetry: str, kinds: str) -> None:
    """Refuse an elimination that has nothing to measure, or in which no filter could be replaced."""
    for value, option, what in (
        (network, "--network", "a network to measure, such as timm:NAME or FILE.py:FUNCTION"),
        (data, "--data", "images to measure on, such as a folder with a folder of images for each class"),
    ):
        if value is None:
            raise typer.BadParameter(f"--eliminate needs {what}", param_hint=option)
    if symmetry != "none":
        raise typer.BadParameter(
            "in a network keys stand as they are, so that --eliminate goes with none only", param_hint="--symmetry"
        )
    if kinds != "depthwise":
        raise typer.BadParameter("--eliminate replaces depthwise filters only", param_hint="--kinds")


def _candidates(text: str, k: int | None) -> int | None:
    """Read a number of candidates; None stands for all filters."""
    if text == "all":
        return None
    count = _count(text, "all", "--candidates")
    if k is not None and count <= k:
        raise typer.BadParameter(
            f"an elimination that leaves the {k} keys of -k needs more than {k} candidates, not {text}",
            param_hint="--candidates",
        )
    return count


def _number_of_keys(text: str, *, compared: bool) -> int | None:
    """Read a number of keys; None stands for the recommended one."""
    if text == "auto":
        if not compared:
            raise typer.BadParameter("auto compares numbers of keys, so it cannot go with --no-curve", param_hint="-k")
        return None
    return _count(text, "auto", "-k")


def _count(text: str, word: str, option: str) -> int:
    """Read one number, in whose place a word may stand."""
    if len(counts := options.counts_of(text)) != 1:
        raise typer.BadParameter(f"{text!r} is neither a number from 1 nor {word}", param_hint=option)
    return counts[0]


def _sizes(text: str) -> Literal["largest", "common"] | tuple[int, ...]:
    """Read how kernels of several sizes are compared."""
    if text in _WHOLE:
        return _WHOLE[text]
    sides = options.counts_of(text)
    if len(sides) not in (1, 2, 3):
        raise typer.BadParameter(f"{text!r} is none of largest, common and a size like 7x7 or 31", param_hint="--sizes")
    return sides
