"""Which metadata have a column on the page of an atlas, and why some have no correlations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalekeys.report.atlas.correlation import LEAST_NETWORKS, Correlation
from scalekeys.report.page.words import plural

SHORT = 32
"""Metadata with longer texts have no column in the table of networks, and stand with each network."""


@dataclass(frozen=True)
class Column:
    """A column of metadata that is short enough for a table."""

    name: str
    is_number: bool


def short_columns(about: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    """Return which metadata of networks have a column of their own in a table: numbers, and texts of a few words."""
    names = dict.fromkeys(name for row in about.values() for name in row)
    columns = {name: [row[name] for row in about.values() if row[name] is not None] for name in names}
    return [
        Column(name, not any(isinstance(value, str) for value in values))
        for name, values in columns.items()
        if values and max(len(str(value)) for value in values) <= SHORT
    ]


def without_interval(found: Sequence[Correlation]) -> str:
    """Say why a column of metadata has no correlations, or none with an interval; nothing where it has.

    Examples
    --------
    >>> without_interval([Correlation("sigma", "accuracy", 5, 3)])
    'Values for 5 networks; a correlation needs 8.'
    """
    if any(one.low is not None for one in found):
        return ""
    networks = max(one.networks for one in found)
    if networks < LEAST_NETWORKS:
        return f"Values for {plural(networks, 'network')}; a correlation needs {LEAST_NETWORKS}."
    if all(one.rho is None for one in found):
        return f"It is the same for all of {plural(networks, 'network')}: nothing can go with it."
    architectures = max(one.architectures for one in found)
    if architectures >= LEAST_NETWORKS:
        return "It varies through one architecture only: without that one nothing is left to correlate."
    return (
        f"The {plural(networks, 'network')} are of {plural(architectures, 'architecture')}; an interval and a p need "
        f"{LEAST_NETWORKS}."
    )
