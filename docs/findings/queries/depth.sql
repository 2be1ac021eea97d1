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
layers as (
    select source, design, depth, count(*) as filters, median(taps) as taps, median(sigma) filter (where isfinite(sigma)) as value, median(sigma_matched) filter (where isfinite(sigma_matched)) as matched, median(sigma_white) filter (where isfinite(sigma_white)) as white
    from live
    where kernel in (select kernel from telling)
    group by source, design, depth
),
ranked as (
    select *, rank() over (partition by source, design order by depth) as place, rank() over (partition by source, design order by value) as value_rank, rank() over (partition by source, design order by matched) as matched_rank, rank() over (partition by source, design order by white) as white_rank
    from layers
    where value is not null and white is not null and matched is not null
)
select source, design, sum(filters)::bigint as filters, median(taps) as taps, count(*) as layers, round(corr(place, value_rank), 6) as value, round(corr(place, matched_rank), 6) as matched, round(corr(place, white_rank), 6) as white
from ranked
group by source, design
having count(*) >= 6 and isfinite(value) and isfinite(white) and isfinite(matched)
order by source
