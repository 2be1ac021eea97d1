"""The verbs, as a table of commands."""

from typing import Annotated

import typer

from scalekeys import __version__
from scalekeys.cli.commands import (
    analyze,
    atlas,
    check,
    compare,
    compress,
    crop,
    demo,
    evaluate,
    keys,
    paper,
    prune,
    replace,
    separate,
    train,
)

app = typer.Typer(
    name="scalekeys",
    help="Explain, replace and train the depthwise filters of deep networks as discrete scale-space filters.",
    epilog="Try: scalekeys demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"scalekeys {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


app.command("analyze", epilog=analyze.EXAMPLE)(analyze.analyze)
app.command("check", epilog=check.EXAMPLE)(check.check)
app.command("keys", epilog=keys.EXAMPLE)(keys.keys)
app.command("replace", epilog=replace.EXAMPLE)(replace.replace)
app.command("compress", epilog=compress.EXAMPLE)(compress.compress)
app.command("prune", epilog=prune.EXAMPLE)(prune.prune)
app.command("crop", epilog=crop.EXAMPLE)(crop.crop)
app.command("separate", epilog=separate.EXAMPLE)(separate.separate)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.add_typer(atlas.app, name="atlas")
app.command("paper", epilog=paper.EXAMPLE)(paper.paper)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
