DO $$
DECLARE
    exclusion text;
BEGIN
    FOR exclusion IN
        SELECT conname
        FROM pg_constraint
        WHERE conrelid = 'events_default'::regclass AND conname ~ '^events_default_not_\d{4}_\d{2}$'
    LOOP
        EXECUTE format('ALTER TABLE events_default DROP CONSTRAINT %I', exclusion);
    END LOOP;
END
$$;

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

DROP FUNCTION admit_events_month(date);
DROP FUNCTION verify_events_month(date);
DROP FUNCTION exclude_events_month(date);
