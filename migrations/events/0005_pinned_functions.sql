-- The functions that make and drop partitions, whatever TimeZone and DateStyle a session has.
-- depends: 0004_strays_by_time

-- Bounds are written and read as text, which depends on both settings: so the functions set them.

CREATE OR REPLACE FUNCTION ensure_events_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    first_day date := date_trunc('month', month);
    starts timestamptz := first_day::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (first_day + interval '1 month') AT TIME ZONE 'UTC';
    partition text := to_char(first_day, '"events_"YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL EXCLUDING IDENTITY)', partition);
    -- Events that came before their partition.
    EXECUTE format(
        'WITH moved AS (DELETE FROM events_default
             WHERE created_at >= %L AND created_at < %L RETURNING *)
         INSERT INTO %I OVERRIDING SYSTEM VALUE SELECT * FROM moved',
        starts, ends, partition
    );
    EXECUTE format(
        'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, starts, ends
    );
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION drop_events_partitions(before date) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    first_kept timestamptz := date_trunc('month', least(before, now()::date)::timestamp);
    partition text;
BEGIN
    FOR partition IN
        SELECT child.relname
        FROM pg_inherits
        INNER JOIN pg_class AS child ON pg_inherits.inhrelid = child.oid
        WHERE
            pg_inherits.inhparent = 'events'::regclass
            AND child.relname ~ '^events_\d{4}_\d{2}$'
            -- By its bounds, not by its name: earlier releases have made some that differ.
            AND substring(
                pg_get_expr(child.relpartbound, child.oid) FROM 'TO \(''([^'']+)''\)'
            )::timestamptz <= first_kept
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        RETURN NEXT partition;
    END LOOP;
END
$$;

COMMENT ON FUNCTION drop_events_partitions(date) IS
'Drops the partitions that end before the month of the day given, never this month''s or a later '
'one; returns their names. Runs as its owner.';
