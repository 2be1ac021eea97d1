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

DiscretizationName: TypeAlias = Literal[
    "discrete", "sampled", "normalized-sampled", "integrated", "hybrid-sampled", "hybrid-integrated"
]

DISCRETIZATION_HELP = (
    "How Gaussian derivatives are discretized: differences of the discrete analogue of the Gaussian, samples, "
    "integrals over pixels, or differences of either."
)
