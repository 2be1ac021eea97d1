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

select
    source,
    design,
    count((gain > 0.05)::int) filter (where true) as filters,
    median(taps) as taps,
    round(avg((gain > 0.05)::int) filter (where true), 6) as value,
    round(avg((gain_matched > 0.05)::int) filter (where true), 6) as matched,
    round(avg((gain_white > 0.05)::int) filter (where true), 6) as white
from live
where gain is not null and gain_matched is not null
group by source, design
having filters >= 16 and value is not null and matched is not null
order by source
