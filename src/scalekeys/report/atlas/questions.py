"""What the report asks an atlas, in SQL.

A filter is *structured* if white noise of its kernel size hardly reaches its r2, and *beyond matched noise* if matched
noise hardly does. Kernels *tell* structure from noise unless the families explain nearly all of half of the white noise
of their size, as they do of three taps; only kernels that tell enter what is said of r2.
"""

from collections.abc import Mapping

from scalekeys.atlas.queries import CLEAR_GAIN, GAIN, KERNEL, SIGMA, TAPS
from scalekeys.fitting.formation import SATURATED
from scalekeys.scalespace import IDEAL8

NOISE_QUANTILE = 0.95
"""A filter is structured if its r2 is beyond this quantile of that of white noise of its kernel size."""

BINS = 10
"""Parts of the depth of a network, between the first and the last depthwise layer."""

MOST_ARCHITECTURES = 24
"""Architectures with bars of their own; the others share one."""

OTHERS = "all others"

RANKED = ("ranked", "share", "square", "reference")
"""Moments of ranks: how many, their mean, the mean of their squares, and the number of values of noise."""

_FIRST_WORD = "regexp_extract({}, '^[A-Za-z]+[A-Za-z0-9]*')"
"""The architecture of a network of this name, where nobody says it."""

_PLACED = f"""
    with sized as (select *, {KERNEL} as kernel, {TAPS} as taps, {SIGMA} as sigma from filters),
    bounds as (
        select
            kernel,
            quantile_cont(r2_white, {NOISE_QUANTILE}) filter (where isfinite(r2_white)) as white,
            quantile_cont(r2_matched, {NOISE_QUANTILE}) filter (where isfinite(r2_matched)) as matched,
            median(r2_white) <= {SATURATED} as telling
        from sized
        where family is not null
        group by kernel
    ),
    ends as (select source, max(depth) as last from filters group by source),
    placed as (
        select
            f.* replace (if(isnan(f.sigma), 'infinity'::double, f.sigma) as sigma),
            coalesce(f.depth / nullif(ends.last, 0), 0) as place,
            coalesce(f.r2 > bounds.white, false) as structured,
            f.r2 > bounds.matched as beyond_matched,
            coalesce(bounds.telling, false) as telling
        from sized as f
        join ends using (source)
        left join bounds using (kernel)
        where f.family is not null and isfinite(f.r2)
    )
"""

_EXPLAINED = """
    median(r2_jet2) filter (where telling) as r2_jet2,
    median(r2_matched) filter (where telling) as r2_matched,
    median(r2_white) filter (where telling) as r2_white,
    avg(structured::int) filter (where telling) as structured,
    avg(beyond_matched::int) filter (where telling) as beyond_matched
"""

COUNTS = """
    select
        count(*) - count(duplicate_of) as networks,
        count(duplicate_of) as duplicates,
        (select count(*) from failures) as failures,
        (select count(*) from filters) as filters,
        (select count(*) from filters where family is not null) as fitted
    from networks
"""

FAILURES = "select source, error, reason from failures order by source"

LEFT_OUT = """
    select network, name, array_to_string(shape, 'x') as shape, reason
    from left_out
    order by network, name
"""

EXPLAINED = f"""
    {_PLACED},
    described as (
        select
            kernel,
            grouping(kernel) as every_kernel,
            max(taps) as taps,
            count(distinct content_hash) as networks,
            count(*) as filters,
            quantile_cont(r2, [0.25, 0.5, 0.75]) filter (where telling) as quantiles,
            {_EXPLAINED}
        from placed
        group by grouping sets ((kernel), ())
        having count(*) > 0
    )
    select
        if(every_kernel = 1, 'all', kernel) as kernel,
        networks,
        filters,
        quantiles[1] as r2_lower_quartile,
        quantiles[2] as r2,
        quantiles[3] as r2_upper_quartile,
        r2_jet2,
        r2_matched,
        r2_white,
        structured,
        beyond_matched
    from described
    order by every_kernel, taps desc, kernel
"""


def _ranks(noise: str, among: str) -> str:
    """Rank the r2 of filters among that of noise, in the groups of some columns; ties count half."""
    frame = f"over (partition by {among} order by value groups between unbounded preceding and {{}})"
    return f"""
        select content_hash, kernel, (below + up_to) / (2 * total) as rank, total
        from (
            select
                *,
                coalesce(sum(is_noise) {frame.format("1 preceding")}, 0) as below,
                sum(is_noise) {frame.format("current row")} as up_to,
                sum(is_noise) over (partition by {among}) as total
            from (
                select content_hash, layer, kernel, round(r2, 9) as value, 0 as is_noise from fitted
                union all
                select content_hash, layer, kernel, round({noise}, 9), 1 from fitted where isfinite({noise})
            )
        )
        where is_noise = 0 and total > 0
    """


def _ranked(control: str, reference: str) -> str:
    """Sum ranks up by network and kernel, where the kernel can tell structure from noise."""
    return f"""
        select
            content_hash,
            kernel,
            count(*) as {control}_ranked,
            avg(rank) as {control}_share,
            avg(rank * rank) as {control}_square,
            ({reference})::bigint as {control}_reference
        from ({_ranks(f"r2_{control}", "kernel" if control == "white" else "content_hash, layer, kernel")})
        where kernel in (select kernel from telling)
        group by content_hash, kernel
    """


KERNELS = f"""
    with sized as (select *, {KERNEL} as kernel, {TAPS} as taps from filters),
    fitted as (select * from sized where family is not null and isfinite(r2)),
    telling as (select kernel from fitted group by kernel having median(r2_white) <= {SATURATED}),
    white as ({_ranked("white", "any_value(total)")}),
    matched as ({_ranked("matched", "count(*)")})
    select
        any_value(source) as source,
        kernel,
        count(*) as filters,
        count(*) filter (where status in ('zero-filter', 'negligible')) as dead,
        median(r2) filter (where family is not null) as r2,
        median(r2_matched) filter (where family is not null) as r2_matched,
        median(r2_white) filter (where family is not null) as r2_white,
        {", ".join(f"any_value({c}_{n}) as {c}_{n}" for c in ("white", "matched") for n in RANKED)}
    from sized
    left join white using (content_hash, kernel)
    left join matched using (content_hash, kernel)
    group by content_hash, kernel
    order by source, max(taps) desc, kernel
"""
"""Filters by network and kernel, with the moments of their ranks among white noise of the atlas of the same kernel, and
among matched noise of their layer; no ranks where a kernel cannot tell structure from noise."""

SCALES = f"""
    {_PLACED},
    described as (
        select
            coalesce(family, 'all') as family,
            cast(least(floor({BINS} * place), {BINS - 1}) as integer) as tenth,
            count(*) as filters,
            count(distinct content_hash) as networks,
            quantile_cont(sigma, [0.1, 0.25, 0.5, 0.75, 0.9]) as quantiles
        from placed
        where structured and sigma is not null
        group by grouping sets ((family, tenth), (tenth))
    )
    select
        family,
        tenth,
        filters,
        networks,
        quantiles[1] as q10,
        quantiles[2] as q25,
        quantiles[3] as q50,
        quantiles[4] as q75,
        quantiles[5] as q90
    from described
    order by family, tenth
"""

ORIENTATION = f"""
    with turned as (select *, {KERNEL} as kernel, {TAPS} as taps, {GAIN} as gain from filters)
    select
        kernel,
        if(grouping(source) = 1, null, source) as source,
        count(*) as filters,
        count(*) filter (where gain > {CLEAR_GAIN}) as gaining,
        count(gain_matched) as matched_filters,
        count(*) filter (where gain_matched > {CLEAR_GAIN}) as matched_gaining,
        count(gain_white) as white_filters,
        count(*) filter (where gain_white > {CLEAR_GAIN}) as white_gaining
    from turned
    where gain is not null
    group by grouping sets ((kernel, source), (kernel))
    having count(gain_matched) > 0 and count(gain_white) > 0
    order by max(taps) desc, kernel, source nulls first
"""
"""Filters that gain from a free angle by kernel, and by kernel and network; all networks have no source."""


def mix(by_column: bool) -> str:
    """Ask for the families by architecture, kernel and stride.

    Parameters
    ----------
    by_column : bool
        Whether `networks` has a column ``architecture``; otherwise it is the first word of the name of a network.
    """
    architecture = "named.architecture" if by_column else _FIRST_WORD.format("f.model")
    named = "select content_hash, any_value(architecture) as architecture from networks group by content_hash"
    join = f"left join ({named}) as named using (content_hash)" if by_column else ""
    return f"""
        with kinds as (
            select
                coalesce(nullif(cast({architecture} as varchar), ''), 'unknown') as architecture,
                {KERNEL} as kernel,
                coalesce(cast(stride as varchar), 'unknown') as stride,
                family
            from filters as f {join}
            where family is not null
        ),
        ranked as (
            select architecture, row_number() over (order by count(*) desc, architecture) as rank
            from kinds group by architecture
        ),
        grouped as (
            select 'architecture' as kind, if(rank <= {MOST_ARCHITECTURES}, architecture, '{OTHERS}') as name, family
            from kinds join ranked using (architecture)
            union all select 'kernel', kernel, family from kinds
            union all select 'stride', stride, family from kinds
        )
        select kind, name, family, count(*) as filters, count(*) / sum(count(*)) over (partition by kind, name) as share
        from grouped
        group by kind, name, family
        order by kind, sum(count(*)) over (partition by kind, name) desc, name, family
    """


def by_network(metadata: Mapping[str, str], architecture: bool) -> str:
    """Ask for statistics of each network, with columns of metadata; a network under two names counts once.

    A network of which no filter could be fitted has a row too.

    Parameters
    ----------
    metadata : mapping of str to str
        What columns of `networks` are called in the answer, to their names there.
    architecture : bool
        See :func:`mix`.

    Notes
    -----
    The slope is summed in an order, so that its last bits do not depend on the number of threads. Infinite scales have
    a share of their own, and count in no median, spread or slope.
    """
    finite = "filter (where structured and isfinite(sigma))"
    values = [f"any_value({quoted(name)}) as brought_{place}" for place, name in enumerate(metadata.values())]
    values += ["any_value(architecture) as architecture"] if architecture else []
    by_column, by_name = "any_value(named.architecture)", _FIRST_WORD.format("any_value(held.name)")
    group = f"coalesce(cast({by_column} as varchar), '')" if architecture else by_name
    shares = [
        f"avg((family = '{family}')::int) filter (where structured) as {quoted(f'share_{family}')}" for family in IDEAL8
    ]
    return f"""
        {_PLACED},
        named as (select {", ".join(["content_hash", *values])} from networks group by content_hash),
        held as (
            select content_hash, any_value(source) as file, any_value(model) as name from filters group by content_hash
        )
        select
            any_value(held.file) as source,
            {group} as architecture,
            count(placed.family) as filters,
            median(sigma) {finite} as sigma,
            median(sigma_x) filter (where structured and isfinite(sigma_x)) as sigma_x,
            median(sigma_y) filter (where structured and isfinite(sigma_y)) as sigma_y,
            median(sigma_z) filter (where structured and isfinite(sigma_z)) as sigma_z,
            quantile_cont(sigma, 0.75) {finite} - quantile_cont(sigma, 0.25) {finite} as sigma_spread,
            regr_slope(sigma, place order by depth, channel) {finite} as sigma_slope,
            avg(isinf(sigma)::int) filter (where structured and sigma is not null) as infinite,
            median(r2) filter (where telling) as r2,
            {_EXPLAINED},
            {", ".join(shares)}
            {"".join(f", any_value(brought_{place}) as {quoted(label)}" for place, label in enumerate(metadata))}
        from held join named using (content_hash) left join placed using (content_hash)
        group by content_hash
        order by source
    """


def quoted(name: str) -> str:
    """Quote the name of a column.

    Examples
    --------
    >>> quoted("top 1")
    '"top 1"'
    """
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
