with known as (
    select content_hash, regexp_replace(regexp_extract(any_value(coalesce(nullif(cast(architecture as varchar), ''), model)), '^[^ (]+'), '(-[A-Za-z]{0,4}[0-9]+|-[A-Za-z]{1,3})+$', '') as design, any_value(cast(task as varchar)) as task
    from networks where duplicate_of is null group by content_hash
),
live as (
    select f.*, concat_ws('x', kernel_depth, kernel_height, kernel_width) as kernel, coalesce(kernel_depth, 1) * coalesce(kernel_height, 1) * kernel_width as taps, power(
    coalesce(sigma_x, 1) * coalesce(sigma_y, 1) * coalesce(sigma_z, 1),
    1.0 / nullif((sigma_x is not null)::int + (sigma_y is not null)::int + (sigma_z is not null)::int, 0)
) as sigma, (r2_oriented - greatest(r2_aligned, r2)) as gain, design, task
    from filters as f join known using (content_hash)
    where family is not null and isfinite(r2)
),
telling as (select kernel from live group by kernel having median(r2_white) <= 0.99)
,
measured as (
    select
        content_hash,
        any_value(cast(architecture as varchar)) as architecture,
        any_value(cast(metric as varchar)) as metric,
        any_value(try_cast(metric_value as double)) as metric_value,
        any_value(try_cast(parameters as double)) as parameters
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
        avg(coalesce(not isfinite(sigma), true)::int) as flat,
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
    round(avg(sigma), 6) as sigma, round(avg(spread), 6) as spread, round(avg(flat), 6) as flat, round(avg(r2), 6) as r2, round(avg(beyond), 6) as beyond, round(avg(rank1), 6) as rank1, round(avg(dead), 6) as dead
from described join measured using (content_hash) join lost using (content_hash)
where metric_value is not null
group by design, architecture, metric, metric_value
order by metric, design, metric_value, source
