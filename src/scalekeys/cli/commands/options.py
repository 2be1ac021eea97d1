"""Options that several verbs share."""

from typing import Annotated, Literal, TypeAlias

import typer

Kind: TypeAlias = Literal["depthwise", "grouped", "ordinary", "all"]

Kinds = Annotated[
    Kind,
    typer.Option(
        "--kinds",
        help="Which convolutions to read; grouped: of several groups and not depthwise, ordinary: of one group.",
    ),
]
