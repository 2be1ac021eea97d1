"""What a report on an atlas says in sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalekeys.report.atlas.correlation import LEAST_NETWORKS, Correlation
from scalekeys.report.atlas.questions import NOISE_QUANTILE
from scalekeys.report.atlas.summary import STATISTICS, AtlasSummary
from scalekeys.report.page import Caution
from scalekeys.report.page.words import listed, number, percent, plural, significant, size_name, spelled

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


def small_kernels(summary: AtlasSummary) -> str:
    """Say of which kernels the families explain anything, so that they can tell nothing.

    An atlas of other kernels has no such sentence.
    """
    sizes = [row["kernel"] for row in summary.rows("explained") if row["r2"] is None and row["kernel"] != "all"]
    if not sizes:
        return ""
    names = listed([size_name(size) for size in sizes])
    return f"Of kernels of {names} the families explain noise as well as anything: they cannot tell, and do not count."


def lead(summary: AtlasSummary) -> str:
    """Say what the atlas holds and what the models explain of it."""
    counts, total = summary.counts, summary.total
    held = f"{plural(counts['networks'], 'network')} with {plural(counts['filters'], 'filter')}"
    if total is None:
        return f"{held}: there is nothing to describe. What could not be read, and why, stands below."
    return (
        f"{held}. The best of the families explains {percent(total['r2'], 0)} of the median filter, a 2-jet "
        f"{percent(total['r2_jet2'], 0)}; of matched noise the families explain {percent(total['r2_matched'], 0)}, of "
        f"white noise {percent(total['r2_white'], 0)}. {percent(total['structured'], 0)} of the filters have more "
        f"structure than white noise, and {percent(total['beyond_matched'], 0)} more than matched noise."
    )


def cautions(summary: AtlasSummary) -> list[Caution]:
    """Collect what a reader should know first."""
    remarks = [
        Caution(
            "Structured filters",
            f"A filter is called structured if the families explain more of it than of {percent(NOISE_QUANTILE, 0)} of "
            "white noise of its kernel size. Scales are those of structured filters: what fits noise has a scale too, "
            "but it says nothing. Noise in a structured filter still widens the spread of its scale and can move the "
            "median, so whatever goes with noise goes with the scales too.",
        )
    ]
    if summary.counts["failures"]:
        unread = plural(summary.counts["failures"], "source")
        remarks.append(Caution("Not read", f"{unread} could not be read, and count for nothing."))
    if summary.counts["duplicates"]:
        again = plural(summary.counts["duplicates"], "source")
        remarks.append(Caution("Twice", f"{again} named a network that is there under another name; it counts once."))
    return remarks


def strides(summary: AtlasSummary) -> str:
    """Say of how many filters the stride is known."""
    rows = [row for row in summary.rows("mix") if row["kind"] == "stride"]
    filters = sum(row["filters"] for row in rows)
    known = sum(row["filters"] for row in rows if row["name"] != "unknown")
    if not known:
        return (
            "The stride is not known of any filter: files hold weights only. Networks by name tell it, and files that "
            "hold a graph, such as those of ONNX."
        )
    if known < filters:
        return f"The stride is known of {percent(known / filters)} of the filters; files hold weights only."
    return "The stride is known of all filters."


def correlations(summary: AtlasSummary) -> list[str]:
    """Say how statistics are correlated with metadata, what that can mean, and which columns are not looked at."""
    return [*_correlated(summary), *_left_out(summary)]


def _left_out(summary: AtlasSummary) -> list[str]:
    if not summary.not_numbers:
        return []
    return [
        f"Not correlated, because a cell or more is no number: {listed(summary.not_numbers)}. In a column of numbers, "
        "leave a cell empty, or write n/a, where a value is not known."
    ]


def _correlated(summary: AtlasSummary) -> list[str]:
    if not summary.metadata:
        return [
            "No numbers were brought with the networks. A list of sources as CSV, with columns such as accuracy or "
            "parameters beside the column source, puts them here."
        ]
    found = summary.correlations
    if all(one.rho is None for one in found):
        return [
            f"No column of {listed(summary.metadata)} has values that vary over {LEAST_NETWORKS} networks or more: too "
            "few to say anything."
        ]
    tested = [one for one in found if one.p_holm is not None]
    standing = sorted((one for one in tested if one.is_significant), key=lambda one: -abs(one.rho or 0))
    verb = "stand" if len(standing) > 1 else "stands"
    told = f" The strongest: {listed([_told(one) for one in standing[:3]])}." if standing else ""
    return [
        f"Of {plural(len(tested), 'correlation')} with an interval, {spelled(len(standing)) if standing else 'none'} "
        f"{verb} out at 5 % when p is adjusted for their number (Holm).{told}",
        "Read them with care. They are over these networks, not over all that could be trained: the intervals count "
        "architectures as independent, not networks, because variants of one design are alike, but the list is no fair "
        "sample, and architectures borrow from each other. "
        "Size, data, training and year go together, so a correlation may be that of something else, and none says that "
        "a network with other scales would be better.",
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


def _told(one: Correlation) -> str:
    witnesses = f"{plural(one.networks, 'network')} of {plural(one.architectures, 'architecture')}"
    return (
        f"{STATISTICS[one.statistic]} with {one.metadata}, {number(one.rho)} (95 % from {number(one.low)} to "
        f"{number(one.high)}, adjusted p {significant(one.p_holm, 2)}, {witnesses})"
    )
