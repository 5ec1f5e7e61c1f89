-- A partition is made without reading the default one while the intake waits.
-- depends: 0007_actors

-- ATTACH reads all of events_default under ACCESS EXCLUSIVE, unless valid constraints prove that it
-- has no event of the month. So a CHECK says that first, and VALIDATE reads while events come in.

CREATE FUNCTION exclude_events_month(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    first_day date := date_trunc('month', month);
    starts timestamptz := first_day;
    ends timestamptz := first_day + interval '1 month';
    exclusion text := to_char(first_day, '"events_default_not_"YYYY_MM');
BEGIN
    IF to_regclass(to_char(first_day, '"events_"YYYY_MM')) IS NOT NULL THEN
        RETURN false;
    END IF;
    IF EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'events_default'::regclass AND conname = exclusion
    ) THEN
        RETURN true;
    END IF;
    -- Events of this month come all the time: rather than be refused, they wait.
    IF
        first_day = date_trunc('month', now())
        OR EXISTS (SELECT FROM events_default WHERE created_at >= starts AND created_at < ends)
    THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'ALTER TABLE events_default ADD CONSTRAINT %I
             CHECK (created_at < %L OR created_at >= %L) NOT VALID',
        exclusion, starts, ends
    );
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION exclude_events_month(date) FROM public;

COMMENT ON FUNCTION exclude_events_month(date) IS
'Lets events_default refuse events of a month that it has none of, by the CHECK '
'events_default_not_YYYY_MM, until the month has its partition; true if it does. Never of this '
'month. Runs as its owner.';

CREATE FUNCTION verify_events_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE events_default VALIDATE CONSTRAINT %I',
        to_char(month, '"events_default_not_"YYYY_MM')
    );
EXCEPTION
    -- Another process has made the partition, or another program has stored events of the month
    -- without the log's lock: ensure_events_partition copes with both.
    WHEN undefined_object OR check_violation THEN
        NULL;
END
$$;

REVOKE ALL ON FUNCTION verify_events_month(date) FROM public;

COMMENT ON FUNCTION verify_events_month(date) IS
'Reads events_default to prove the CHECK of exclude_events_month, while it is read and written. '
'Runs as its owner.';

CREATE FUNCTION admit_events_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    exclusion text := to_char(month, '"events_default_not_"YYYY_MM');
BEGIN
    -- Looked up before, as IF EXISTS would lock the table for nothing.
    IF EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'events_default'::regclass AND conname = exclusion
    ) THEN
        EXECUTE format('ALTER TABLE events_default DROP CONSTRAINT %I', exclusion);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION admit_events_month(date) FROM public;

COMMENT ON FUNCTION admit_events_month(date) IS
'Undoes exclude_events_month, if need be. Runs as its owner.';

-- As before, but for the last statement.
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
    is_missing boolean := to_regclass(partition) IS NULL;
BEGIN
    IF is_missing THEN
        EXECUTE format(
            'CREATE TABLE %I (LIKE events INCLUDING ALL EXCLUDING IDENTITY)', partition
        );
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
    END IF;
    PERFORM admit_events_month(month);
    RETURN is_missing;
END
$$;
