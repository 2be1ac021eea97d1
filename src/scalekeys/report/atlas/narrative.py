"""What a report on an atlas says in sentences."""

from scalekeys.report.atlas.correlation import LEAST_NETWORKS, Correlation
from scalekeys.report.atlas.questions import NOISE_QUANTILE
from scalekeys.report.atlas.summary import STATISTICS, AtlasSummary
from scalekeys.report.cautions import Caution
from scalekeys.report.words import listed, number, percent, plural, spelled


def lead(summary: AtlasSummary) -> str:
    """Say what the atlas holds and what the models explain of it."""
    counts, total = summary.counts, summary.total
    held = f"{plural(counts['networks'], 'network')} with {plural(counts['filters'], 'depthwise filter')}"
    if total is None:
        return f"{held}: there is nothing to describe. What could not be read, and why, stands below."
    return (
        f"{held}. The best of the eight families explains {percent(total['r2'], 0)} of the median filter, a 2-jet "
        f"{percent(total['r2_jet2'], 0)}; of white noise the families explain {percent(total['r2_control'], 0)}. "
        f"{percent(total['structured'], 0)} of the filters have more structure than noise."
    )


def cautions(summary: AtlasSummary) -> list[Caution]:
    """Collect what a reader should know first."""
    remarks = [
        Caution(
            "Structured filters",
            f"A filter is called structured if the families explain more of it than of {percent(NOISE_QUANTILE, 0)} of "
            "noise of its kernel size. Scales are those of structured filters: what fits noise has a scale too, but "
            "it says nothing.",
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
            "The stride is not known of any filter: files hold weights only. Networks by name and ONNX files tell it."
        )
    if known < filters:
        return f"The stride is known of {percent(known / filters)} of the filters; files hold weights only."
    return "The stride is known of all filters."


def correlations(summary: AtlasSummary) -> list[str]:
    """Say what goes with what, and what that can mean."""
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
    beyond = [one for one in found if one.excludes_zero]
    tested = [one for one in found if one.low is not None]
    strongest = sorted(beyond, key=lambda one: -abs(one.rho or 0))[:3]
    told = f" The strongest: {listed([_told(one) for one in strongest])}." if strongest else ""
    return [
        f"Of {plural(len(tested), 'correlation')} with an interval, {spelled(len(beyond))} leave out 0; one in twenty "
        f"would by chance.{told}",
        "Read them with care. They are over these networks, not over all that could be trained: whole architectures "
        "are drawn for the intervals, because variants of one design are alike, but the list is no fair sample. "
        "Size, data, training and year go together, so a correlation may be that of something else, and none says that "
        "a network with other scales would be better.",
    ]


def _told(one: Correlation) -> str:
    return (
        f"{STATISTICS[one.statistic]} with {one.metadata}, {number(one.rho)} (95 % from {number(one.low)} to "
        f"{number(one.high)}, {plural(one.networks, 'network')} of {plural(one.architectures, 'architecture')})"
    )
