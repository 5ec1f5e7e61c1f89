-- The events, partitioned by month, and the keys that they are deduplicated on.

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    subject text CHECK (length(subject) BETWEEN 1 AND 200),
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

COMMENT ON TABLE events IS
'What happened, partitioned by the month (UTC) of created_at. One writer at a time '
'(events/lock_log), so the order of id is the order of commits: a reader may go by id.';
COMMENT ON COLUMN events.id IS 'Place in the log. Has gaps.';
COMMENT ON COLUMN events.event_id IS 'The sender''s id of the event. Unique by event_keys.';
COMMENT ON COLUMN events.name IS 'What happened, such as invoice.paid; 1 to 200 characters.';
COMMENT ON COLUMN events.subject IS
'What it happened to, as kind:id, such as invoice:7; null if the sender does not say.';
COMMENT ON COLUMN events.payload IS 'What the sender wants known of it; any JSON object.';
COMMENT ON COLUMN events.created_at IS
'When it happened, as the sender says. Not when it was stored, and not the order of the log.';

-- Serves events/list_events_by_name and events/list_newest_events_by_name.
CREATE INDEX events_name_idx ON events (name, id);
-- Serves events/list_events_by_subject and events/list_newest_events_by_subject.
CREATE INDEX events_subject_idx ON events (subject, id);

CREATE TABLE events_default PARTITION OF events DEFAULT;

COMMENT ON TABLE events_default IS
'Events of months that have no partition: much too late, or much too early.';

CREATE TABLE event_keys (
    event_id uuid PRIMARY KEY,
    id bigint NOT NULL,
    created_at timestamptz NOT NULL
);

COMMENT ON TABLE event_keys IS
'The ids of all stored events: a unique index on events itself would have to include the month. '
'Forgotten along with the partition.';
COMMENT ON COLUMN event_keys.event_id IS 'The sender''s id of the event.';
COMMENT ON COLUMN event_keys.id IS
'Its place in the log: events.id. Not a foreign key, which would keep partitions from being '
'dropped.';
COMMENT ON COLUMN event_keys.created_at IS 'As in events: says when the key may be forgotten.';

-- Serves events/forget_keys.
CREATE INDEX event_keys_created_at_idx ON event_keys (created_at);

-- Both functions run as their owner, so that the service can do without owning the table. Hence
-- the fixed search_path, with the caller's temporary tables last, and nothing for PUBLIC.

CREATE FUNCTION ensure_events_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

REVOKE ALL ON FUNCTION ensure_events_partition(date) FROM public;

COMMENT ON FUNCTION ensure_events_partition(date) IS
'Makes the partition of a month unless it is there; true if it did. Runs as its owner: the '
'service needs no right to create tables.';

CREATE FUNCTION drop_events_partitions(before date) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
    partition text;
BEGIN
    FOR partition IN
        SELECT child.relname
        FROM pg_inherits
        INNER JOIN pg_class AS child ON pg_inherits.inhrelid = child.oid
        WHERE
            pg_inherits.inhparent = 'events'::regclass
            AND child.relname ~ '^events_\d{4}_\d{2}$'
            AND to_date(right(child.relname, 7), 'YYYY_MM')
            < least(date_trunc('month', before), this_month)
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        RETURN NEXT partition;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION drop_events_partitions(date) FROM public;

COMMENT ON FUNCTION drop_events_partitions(date) IS
'Drops the partitions of the months before the one given, never this month''s or a later one; '
'returns their names. Runs as its owner.';
