with sized as (select *, concat_ws('x', kernel_depth, kernel_height, kernel_width) as kernel, coalesce(kernel_depth, 1) * coalesce(kernel_height, 1) * kernel_width as taps from filters),
    fitted as (select * from sized where family is not null and isfinite(r2)),
    telling as (select kernel from fitted group by kernel having median(r2_white) <= 0.99),
    white as (
        select
            content_hash,
            kernel,
            count(*) as white_ranked,
            avg(rank) as white_share,
            avg(rank * rank) as white_square,
            (any_value(total))::bigint as white_reference
        from (
        select content_hash, kernel, (below + up_to) / (2 * total) as rank, total
        from (
            select
                *,
                coalesce(sum(is_noise) over (partition by kernel order by value groups between unbounded preceding and 1 preceding), 0) as below,
                sum(is_noise) over (partition by kernel order by value groups between unbounded preceding and current row) as up_to,
                sum(is_noise) over (partition by kernel) as total
            from (
                select content_hash, layer, kernel, round(r2, 9) as value, 0 as is_noise from fitted
                union all
                select content_hash, layer, kernel, round(r2_white, 9), 1 from fitted where isfinite(r2_white)
            )
        )
        where is_noise = 0 and total > 0
    )
        where kernel in (select kernel from telling)
        group by content_hash, kernel
    ),
    matched as (
        select
            content_hash,
            kernel,
            count(*) as matched_ranked,
            avg(rank) as matched_share,
            avg(rank * rank) as matched_square,
            (count(*))::bigint as matched_reference
        from (
        select content_hash, kernel, (below + up_to) / (2 * total) as rank, total
        from (
            select
                *,
                coalesce(sum(is_noise) over (partition by content_hash, layer, kernel order by value groups between unbounded preceding and 1 preceding), 0) as below,
                sum(is_noise) over (partition by content_hash, layer, kernel order by value groups between unbounded preceding and current row) as up_to,
                sum(is_noise) over (partition by content_hash, layer, kernel) as total
            from (
                select content_hash, layer, kernel, round(r2, 9) as value, 0 as is_noise from fitted
                union all
                select content_hash, layer, kernel, round(r2_matched, 9), 1 from fitted where isfinite(r2_matched)
            )
        )
        where is_noise = 0 and total > 0
    )
        where kernel in (select kernel from telling)
        group by content_hash, kernel
    )
    select
        any_value(source) as source,
        kernel,
        count(*) as filters,
        count(*) filter (where status in ('zero-filter', 'negligible')) as dead,
        median(r2) filter (where family is not null) as r2,
        median(r2_matched) filter (where family is not null) as r2_matched,
        median(r2_white) filter (where family is not null) as r2_white,
        any_value(white_ranked) as white_ranked, any_value(white_share) as white_share, any_value(white_square) as white_square, any_value(white_reference) as white_reference, any_value(matched_ranked) as matched_ranked, any_value(matched_share) as matched_share, any_value(matched_square) as matched_square, any_value(matched_reference) as matched_reference
    from sized
    left join white using (content_hash, kernel)
    left join matched using (content_hash, kernel)
    group by content_hash, kernel
    order by source, max(taps) desc, kernel
