"""Questions with a name. A new one is a row of the table."""

from collections.abc import Sequence
from dataclasses import dataclass

KERNEL = "concat_ws('x', kernel_depth, kernel_height, kernel_width)"
"""The size of a kernel as text: 7x7, 31 for one axis, 5x3x3 for three."""

TAPS = "coalesce(kernel_depth, 1) * coalesce(kernel_height, 1) * kernel_width"
"""How many taps a kernel has."""

SIGMA = """power(
    coalesce(sigma_x, 1) * coalesce(sigma_y, 1) * coalesce(sigma_z, 1),
    1.0 / nullif((sigma_x is not null)::int + (sigma_y is not null)::int + (sigma_z is not null)::int, 0)
)"""
"""The scale of a filter: the geometric mean over the axes that have one."""

IN_INPUT = "sigma * pitch * coalesce(dilation, 1)"
"""The scale of a filter in pixels of the input of its network; null where a source does not tell the pitch."""

CLEAR_GAIN = 0.05
"""A filter gains from a free angle if an oriented template explains so much more of it than all aligned ones."""

GAIN = "(r2_oriented - greatest(r2_aligned, r2))"
"""By how much a free angle explains more of a filter than aligned templates and the idealized families."""

CLOSE = 0.8
"""A filter is close to a published key if its absolute correlation with the key is larger."""

CONTROLS = ("", "_matched", "_white")
"""How the columns of filters and of both controls end."""


def _beside_controls(expressions: Sequence[str]) -> str:
    """Write expressions, in which `{0}` stands for the end of a column, for filters and for both controls."""
    return ",\n".join(expression.format(control) for control in CONTROLS for expression in expressions)


OFFSET = """case family{0}
    when 'dx+' then -centre_x{0} when 'dx-' then centre_x{0}
    when 'dy+' then -centre_y{0} when 'dy-' then centre_y{0}
    when 'dz+' then -centre_z{0} when 'dz-' then centre_z{0}
end"""
"""How far a filter of a one-sided family lies off the centre, along the axis of the family and towards its side."""


@dataclass(frozen=True)
class Query:
    """A question to an atlas."""

    title: str
    """What it shows, in a sentence."""
    sql: str


_RANKS = tuple(f"median({name}{{0}}) as {name}{{0}}" for name in ("rank1", "rank2", "rank1_centred"))

_OFFSETS = (
    f"count({OFFSET}) as filters{{0}}",
    f"avg({OFFSET}) as offset{{0}}",
    f"quantile_cont({OFFSET}, 0.25) as offset_lower_quartile{{0}}",
    f"quantile_cont({OFFSET}, 0.75) as offset_upper_quartile{{0}}",
)

_NEAREST = "\nunion all\n".join(
    f"select {KERNEL} as kernel, {TAPS} as taps, '{control}' as control, key{control} as nearest, "
    f"key_correlation{control} as correlation from filters where key{control} is not null"
    for control in CONTROLS
)

_KEYS = (
    "count(*) filter (control = '{0}') as filters{0}",
    f"count(*) filter (control = '{{0}}' and correlation > {CLOSE}) / "
    "max(count(*) filter (control = '{0}')) over (partition by kernel) as close{0}",
    "median(correlation) filter (control = '{0}') as correlation{0}",
)

NAMED: dict[str, Query] = {
    "scales-by-depth": Query(
        "Scales and r2 by kernel and by tenth of the depth of a network (0 at the input).",
        f"""
        with placed as (
            select *,
                coalesce(depth / nullif(max(depth) over (partition by source), 0), 0) as place,
                {SIGMA} as sigma
            from filters
        )
        select
            {KERNEL} as kernel,
            cast(least(floor(10 * place), 9) as integer) as tenth,
            count(*) as filters,
            median(sigma_x) as sigma_x, median(sigma_y) as sigma_y, median(sigma_z) as sigma_z,
            quantile_cont(sigma, 0.25) filter (where not isnan(sigma)) as sigma_lower_quartile,
            quantile_cont(sigma, 0.75) filter (where not isnan(sigma)) as sigma_upper_quartile,
            median({IN_INPUT}) filter (where not isnan(sigma)) as sigma_in_input_pixels,
            median(r2) as r2
        from placed
        where family is not null
        group by all
        order by max({TAPS}) desc, kernel, tenth
        """,
    ),
    "family-mix-by-stride": Query(
        "The families by stride (none where a source holds weights only), with their share among all of that stride.",
        """
        select
            stride,
            family,
            count(*) as filters,
            count(*) / sum(count(*)) over (partition by stride) as share,
            median(r2) as r2
        from filters
        where family is not null
        group by stride, family
        order by stride nulls last, filters desc, family
        """,
    ),
    "r2-by-kernel-size": Query(
        "How much the families, and the 2-jet, explain of kernels of each size, beside white and matched noise.",
        f"""
        select
            {KERNEL} as kernel,
            count(distinct content_hash) as networks,
            count(*) as filters,
            median(r2) as r2, median(r2_matched) as r2_matched, median(r2_white) as r2_white,
            median(r2_jet2) as r2_jet2
        from filters
        group by kernel
        order by max({TAPS}) desc, kernel
        """,
    ),
    "orientation": Query(
        "The share of filters that gain more than 0.05 from a free angle, beside both controls, by kernel and network.",
        f"""
        with turned as (
            select *, {KERNEL} as kernel, {TAPS} as taps, {GAIN} as gain
            from filters
        )
        select
            kernel,
            source,
            count(gain) as filters,
            avg((gain > {CLEAR_GAIN})::int) as gaining,
            avg((gain_matched > {CLEAR_GAIN})::int) as gaining_matched,
            avg((gain_white > {CLEAR_GAIN})::int) as gaining_white
        from turned
        where gain is not null
        group by kernel, source
        order by max(taps) desc, kernel, source
        """,
    ),
    "separability": Query(
        "What rank 1 and 2 hold of the energy of a kernel, and rank 1 of it without its mean, beside noise: medians.",
        f"""
        select
            {KERNEL} as kernel,
            count(distinct content_hash) as networks,
            count(rank1) as filters,
            {_beside_controls(_RANKS)}
        from filters
        where rank1 is not null
        group by kernel
        order by max({TAPS}) desc, kernel
        """,
    ),
    "offsets": Query(
        "How far one-sided filters lie off the centre, in pixels along their axis, beside noise of the same families.",
        f"""
        select
            {KERNEL} as kernel,
            {_beside_controls(_OFFSETS)}
        from filters
        group by kernel
        having count({OFFSET.format("")}) > 0
        order by max({TAPS}) desc, kernel
        """,
    ),
    "published-keys": Query(
        "The share of filters whose correlation with a published key is above 0.8, and the medians, beside noise.",
        f"""
        with compared as ({_NEAREST})
        select
            kernel,
            coalesce(nearest, 'all') as key,
            {_beside_controls(_KEYS)}
        from compared
        group by grouping sets ((kernel), (kernel, nearest))
        order by max(taps) desc, kernel, nearest nulls first
        """,
    ),
    "outliers": Query(
        "The 50 filters whose r2 is furthest from the median of their kernel size, in median absolute deviations.",
        f"""
        with named as (
            select *, {KERNEL} as kernel from filters
        ), centred as (
            select *, r2 - median(r2) over (partition by kernel) as distance
            from named
            where family is not null
        ), scaled as (
            select *, median(abs(distance)) over (partition by kernel) as usual,
                distance / nullif(usual, 0) as deviations
            from centred
        )
        select source, layer, channel, kernel, family, sigma_x, sigma_y, sigma_z, r2, r2_jet2, r2_matched, r2_white,
            deviations
        from scaled
        where deviations is not null
        order by abs(deviations) desc, source, depth, channel
        limit 50
        """,
    ),
}
"""By the name that ``scalekeys atlas query`` takes."""
