"""What the findings ask an atlas, in SQL: one row a network, with the same quantity of noise beside it.

The *design* of a network is what variants of one architecture share: the first word of the column ``architecture`` of
the metadata (of the name of the network where there is none) without sizes behind a hyphen: up to three letters, or up
to four and a number.
"""

from collections.abc import Collection
from dataclasses import dataclass

from scalekeys.atlas.queries import CLEAR_GAIN, CLOSE, CONTROLS, GAIN, KERNEL, OFFSET, SIGMA, TAPS
from scalekeys.fitting.formation import SATURATED

LEAST_FILTERS = 16
"""Filters that a network needs to have a value."""

CLEAR_FIT = 0.8
"""The r2 from which a filter counts as one of its family."""

_ENDS = dict(zip(("value", "matched", "white"), CONTROLS, strict=True))
"""What the quantity of filters and of both controls is called, by the ends of the columns behind it."""


@dataclass(frozen=True)
class Names:
    """Columns of the metadata that the questions use where an atlas has them."""

    brought: Collection[str]

    @property
    def design(self) -> str:
        """The design of a network in SQL."""
        name = (
            "coalesce(nullif(cast(architecture as varchar), ''), model)" if "architecture" in self.brought else "model"
        )
        word = f"regexp_extract(any_value({name}), '^[^ (]+')"
        return f"regexp_replace({word}, '(-[A-Za-z]{{0,4}}[0-9]+|-[A-Za-z]{{1,3}})+$', '')"

    def text(self, column: str) -> str:
        """Return a column of the metadata as text in SQL, null where the atlas has none."""
        return f"any_value(cast({column} as varchar))" if column in self.brought else "null::varchar"


def live_filters(names: Names) -> str:
    """Return the beginning of every question: filters that could be fitted, with the design of their network."""
    return f"""
with known as (
    select content_hash, {names.design} as design, {names.text("task")} as task
    from networks where duplicate_of is null group by content_hash
),
live as (
    select f.*, {KERNEL} as kernel, {TAPS} as taps, {SIGMA} as sigma, {GAIN} as gain, design, task
    from filters as f join known using (content_hash)
    where family is not null and isfinite(r2)
),
telling as (select kernel from live group by kernel having median(r2_white) <= {SATURATED})
"""


def beside_noise(names: Names, value: str, where: str, among: str = "true") -> str:
    """Ask for the mean of a quantity over the filters of each network, and over both kinds of noise in their place.

    Parameters
    ----------
    names : Names
    value, among : str
        The quantity, and which filters have it, in SQL; ``{}`` stands for the end of the names of columns, which says
        whether a filter or noise is meant.
    where : str
        Which filters count.
    """
    columns = ",\n    ".join(
        f"round(avg({value.format(end)}) filter (where {among.format(end)}), 6) as {name}"
        for name, end in _ENDS.items()
    )
    return f"""{live_filters(names)}
select
    source,
    design,
    count({value.format("")}) filter (where {among.format("")}) as filters,
    median(taps) as taps,
    {columns}
from live
where {where}
group by source, design
having filters >= {LEAST_FILTERS} and value is not null and matched is not null
order by source
""".strip()


def families(names: Names) -> str:
    """Ask how much the eight families explain, where kernels can tell structure from noise."""
    return beside_noise(names, "r2{}", "kernel in (select kernel from telling)", "isfinite(r2{})")


def alignment(names: Names) -> str:
    """Ask for the share of filters that a free angle explains clearly better than the axes do."""
    return beside_noise(names, f"(gain{{}} > {CLEAR_GAIN})::int", "gain is not null and gain_matched is not null")


def separability(names: Names) -> str:
    """Ask for the share of the energy of a filter that its best separable approximation holds."""
    return beside_noise(
        names, "rank1_centred{}", "rank1_centred is not null and taps >= 9", "isfinite(rank1_centred{})"
    )


def published_keys(names: Names) -> str:
    """Ask for the share of filters that are like one of the eight published keys."""
    return beside_noise(
        names,
        f"(key_correlation{{}} > {CLOSE})::int",
        "key_correlation is not null and kernel in (select kernel from telling)",
    )


_ODD = "kernel_width % 2 = 1 and coalesce(kernel_height, 1) % 2 = 1 and coalesce(kernel_depth, 1) % 2 = 1"


def offsets(names: Names) -> str:
    """Ask how far the centre of one-sided filters lies from the grid, along their own axis and to their own side."""
    return beside_noise(names, OFFSET, f"{_ODD} and taps > 3", f"r2{{}} > {CLEAR_FIT}")


def all_offsets(names: Names) -> str:
    """Ask for the same distances of all one-sided filters of all networks, as counts in steps of 0.05 pixels."""
    parts = "\nunion all\n".join(
        f"select '{end[1:] or 'trained'}' as what, floor(20 * ({OFFSET.format(end)})) / 20 as distance\n"
        f"from live where {_ODD} and taps > 3 and r2{end} > {CLEAR_FIT}"
        for end in CONTROLS
    )
    return f"""{live_filters(names)}
select what, distance, count(*) as filters
from ({parts})
where isfinite(distance)
group by what, distance
order by what, distance
""".strip()


_FLAT = "coalesce(not isfinite(sigma{}), true)::int"
"""Whether a scale is infinite along an axis or more; beside a scale of 0 the mean over the axes is no number."""


def flat_scales(names: Names) -> str:
    """Ask for the share of filters whose best scale is infinite along an axis or more."""
    return beside_noise(names, _FLAT, "kernel in (select kernel from telling)", "isfinite(r2{})")


def scales_over_depth(names: Names) -> str:
    """Ask how the scale of the filters of a network goes with the depth of their layer, by rank."""
    medians = ", ".join(
        f"median(sigma{end}) filter (where isfinite(sigma{end})) as {name}" for name, end in _ENDS.items()
    )
    ranks = ", ".join(f"rank() over (partition by source, design order by {name}) as {name}_rank" for name in _ENDS)
    values = ", ".join(f"round(corr(place, {name}_rank), 6) as {name}" for name in _ENDS)
    return f"""{live_filters(names)},
layers as (
    select source, design, depth, count(*) as filters, median(taps) as taps, {medians}
    from live
    where kernel in (select kernel from telling)
    group by source, design, depth
),
ranked as (
    select *, rank() over (partition by source, design order by depth) as place, {ranks}
    from layers
    where value is not null and white is not null and matched is not null
)
select source, design, sum(filters)::bigint as filters, median(taps) as taps, count(*) as layers, {values}
from ranked
group by source, design
having count(*) >= 6 and isfinite(value) and isfinite(white) and isfinite(matched)
order by source
""".strip()


def scales_by_pitch(names: Names) -> str:
    """Ask for the scale in pixels of the image, by the pitch of the grid on which a layer works, where it is known."""
    return f"""{live_filters(names)}
select
    pitch,
    count(*) as filters,
    count(distinct source) as networks,
    round(median(sigma) filter (where isfinite(sigma)), 6) as sigma,
    round(median(sigma_matched) filter (where isfinite(sigma_matched)), 6) as sigma_matched,
    round(median(sigma_white) filter (where isfinite(sigma_white)), 6) as sigma_white,
    round(median(sigma * pitch * coalesce(dilation, 1)) filter (where isfinite(sigma)), 6) as sigma_in_image
from live
where pitch = round(pitch) and kernel in (select kernel from telling)
group by pitch
order by pitch
""".strip()


def dead(names: Names) -> str:
    """Ask for the filters of each network that are zero or negligible."""
    return f"""
with known as (
    select content_hash, {names.design} as design from networks where duplicate_of is null group by content_hash
)
select
    source,
    design,
    count(*) as filters,
    count(*) filter (where status in ('zero-filter', 'negligible')) as dead,
    round(dead / count(*), 6) as value
from filters join known using (content_hash)
group by source, design
order by value desc, source
""".strip()


def performance(names: Names) -> str:
    """Ask for the statistics of networks with a metric; variants with the same figure and architecture count once."""
    parameters = "any_value(try_cast(parameters as double))" if "parameters" in names.brought else "null::double"
    architecture = names.text("architecture")
    averaged = ("sigma", "spread", "flat", "r2", "beyond", "rank1", "dead")
    means = ", ".join(f"round(avg({name}), 6) as {name}" for name in averaged)
    return f"""{live_filters(names)},
measured as (
    select
        content_hash,
        {architecture} as architecture,
        any_value(cast(metric as varchar)) as metric,
        any_value(try_cast(metric_value as double)) as metric_value,
        {parameters} as parameters
    from networks
    where duplicate_of is null and metric is not null
    group by content_hash
),
lost as (
    select content_hash, avg((status in ('zero-filter', 'negligible'))::int) as dead from filters group by content_hash
),
described as (
    select
        any_value(source) as source,
        design,
        content_hash,
        median(sigma) filter (where isfinite(sigma)) as sigma,
        quantile_cont(sigma, 0.75) filter (where isfinite(sigma))
            - quantile_cont(sigma, 0.25) filter (where isfinite(sigma)) as spread,
        avg({_FLAT.format("")}) as flat,
        avg(r2) as r2,
        avg(r2) - avg(r2_matched) as beyond,
        avg(rank1_centred) as rank1
    from live
    where kernel in (select kernel from telling)
    group by design, content_hash
)
select
    min(source) as source,
    design,
    metric,
    metric_value,
    count(*) as variants,
    round(avg(parameters), 6) as parameters,
    {means}
from described join measured using (content_hash) join lost using (content_hash)
where metric_value is not null
group by design, architecture, metric, metric_value
order by metric, design, metric_value, source
""".strip()


def designs(names: Names) -> str:
    """Ask for the design of each network."""
    return f"""
select any_value(source) as source, {names.design} as design
from networks where duplicate_of is null group by content_hash
""".strip()
