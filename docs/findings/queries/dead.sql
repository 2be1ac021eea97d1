with known as (
    select content_hash, regexp_replace(regexp_extract(any_value(coalesce(nullif(cast(architecture as varchar), ''), model)), '^[^ (]+'), '(-[A-Za-z]{0,4}[0-9]+|-[A-Za-z]{1,3})+$', '') as design from networks where duplicate_of is null group by content_hash
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
