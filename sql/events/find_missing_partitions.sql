-- events/find_missing_partitions: tell which months have no partition, and whether too many events
--     would move into one
-- Params:  $1 months_behind integer   before this one
--          $2 months_ahead integer    after this one
--          $3 most_rows bigint        that may move
-- Locks:   none
-- Rows:    month date, too_many boolean; one per month without a partition, or that is excluded
--          (events/exclude_month) since a process ended in the middle; newest first
-- Index:   events_default_created_at_idx
WITH wanted AS (
    SELECT
        (
            date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)
        )::date AS month
    FROM generate_series(-$1::integer, $2::integer) AS ahead
),

months AS (
    SELECT month
    FROM wanted
    WHERE to_regclass(to_char(month, '"public.events_"YYYY_MM')) IS NULL
    UNION
    SELECT to_date(right(conname, 7), 'YYYY_MM')
    FROM pg_constraint
    WHERE
        conrelid = 'events_default'::regclass
        AND conname ~ '^events_default_not_[0-9]{4}_[0-9]{2}$'
)

SELECT
    months.month,
    exists(
        SELECT events_default.created_at
        FROM events_default
        WHERE
            events_default.created_at >= months.month::timestamp AT TIME ZONE 'UTC'
            AND events_default.created_at < (months.month + interval '1 month') AT TIME ZONE 'UTC'
        ORDER BY events_default.created_at
        LIMIT 1 OFFSET $3
    ) AS too_many
FROM months
ORDER BY months.month DESC
