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
'What happened, partitioned by the month of created_at. One writer at a time (events/lock_log), so the order of id is the order of commits: a reader may go by id.'; -- noqa: LT05
COMMENT ON COLUMN events.id IS 'Place in the log.';
COMMENT ON COLUMN events.event_id IS 'The sender''s id of the event.';
COMMENT ON COLUMN events.name IS 'What happened, such as invoice.paid.';
COMMENT ON COLUMN events.subject IS 'What it happened to, as kind:id; may be null.';
COMMENT ON COLUMN events.payload IS 'What the sender wants known of it.';
COMMENT ON COLUMN events.created_at IS 'When it happened, as the sender says.';

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
'The ids of all stored events: a unique index on events itself would have to include the month.';
COMMENT ON COLUMN event_keys.event_id IS 'The sender''s id of the event.';
COMMENT ON COLUMN event_keys.id IS 'Its place in the log.';
COMMENT ON COLUMN event_keys.created_at IS 'As in events: says when the key may be forgotten.';

-- Serves events/forget_keys.
CREATE INDEX event_keys_created_at_idx ON event_keys (created_at);

CREATE FUNCTION ensure_events_partition(month date) RETURNS boolean
LANGUAGE plpgsql AS $$
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

COMMENT ON FUNCTION ensure_events_partition(date) IS
'Makes the partition of a month unless it is there; true if it did.';

CREATE FUNCTION drop_events_partitions(before date) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    partition text;
BEGIN
    FOR partition IN
        SELECT child.relname
        FROM pg_inherits
        INNER JOIN pg_class AS child ON pg_inherits.inhrelid = child.oid
        WHERE
            pg_inherits.inhparent = 'events'::regclass
            AND child.relname ~ '^events_\d{4}_\d{2}$'
            AND to_date(right(child.relname, 7), 'YYYY_MM') < date_trunc('month', before)
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        RETURN NEXT partition;
    END LOOP;
END
$$;

COMMENT ON FUNCTION drop_events_partitions(date) IS
'Drops the partitions of the months before the one given; returns their names.';
