"""Questions with a name. A new one is a row of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """A question to an atlas.

    Parameters
    ----------
    title : str
        What it shows, in a sentence.
    sql : str
    """

    title: str
    sql: str


NAMED: dict[str, Query] = {
    "scales-by-depth": Query(
        "Scales and r2 by kernel and by tenth of the depth of a network (0 at the input).",
        """
        with placed as (
            select *, coalesce(depth / nullif(max(depth) over (partition by source), 0), 0) as place
            from filters
        )
        select
            kernel_height || 'x' || kernel_width as kernel,
            cast(least(floor(10 * place), 9) as integer) as tenth,
            count(*) as filters,
            median(sigma_x) as sigma_x,
            median(sigma_y) as sigma_y,
            quantile_cont(sqrt(sigma_x * sigma_y), 0.25) as sigma_lower_quartile,
            quantile_cont(sqrt(sigma_x * sigma_y), 0.75) as sigma_upper_quartile,
            median(r2) as r2
        from placed
        where family is not null
        group by all
        order by max(kernel_height * kernel_width) desc, kernel, tenth
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
        "How much the eight families, and the 2-jet, explain of kernels of each size, beside noise.",
        """
        select
            kernel_height,
            kernel_width,
            count(distinct content_hash) as networks,
            count(*) as filters,
            median(r2) as r2,
            median(r2_control) as r2_control,
            median(r2_jet2) as r2_jet2
        from filters
        group by kernel_height, kernel_width
        order by kernel_height * kernel_width desc, kernel_height desc
        """,
    ),
    "outliers": Query(
        "The 50 filters whose r2 is furthest from the median of their kernel size, in median absolute deviations.",
        """
        with centred as (
            select *, r2 - median(r2) over (partition by kernel_height, kernel_width) as distance
            from filters
            where family is not null
        ), scaled as (
            select
                *,
                median(abs(distance)) over (partition by kernel_height, kernel_width) as usual,
                distance / nullif(usual, 0) as deviations
            from centred
        )
        select
            source,
            layer,
            channel,
            kernel_height || 'x' || kernel_width as kernel,
            family,
            sigma_x,
            sigma_y,
            r2,
            r2_jet2,
            r2_control,
            deviations
        from scaled
        where deviations is not null
        order by abs(deviations) desc, source, depth, channel
        limit 50
        """,
    ),
}
"""By the name that ``scalekeys atlas query`` takes."""
