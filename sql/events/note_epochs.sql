-- events/note_epochs: note the highest epoch of each source that sends events
-- Params:  $1 sources uuid[]
--          $2 epochs bigint[]   same length
-- Locks:   the rows of the sources that have a new epoch; the caller holds events/lock_log
-- Rows:    source uuid, epoch bigint; one per source that was known before, with its epoch before
-- Index:   event_sources_pkey
WITH given AS (
    SELECT
        sender.source,
        max(sender.epoch) AS epoch
    FROM unnest($1::uuid[], $2::bigint[]) AS sender (source, epoch)
    GROUP BY sender.source
),

known AS (
    SELECT
        event_sources.source,
        event_sources.epoch
    FROM event_sources
    WHERE event_sources.source = any($1::uuid[])
),

noted AS (
    INSERT INTO event_sources AS noted (source, epoch)
    SELECT
        given.source,
        given.epoch
    FROM given
    WHERE
        NOT EXISTS (
            SELECT 1
            FROM known
            WHERE known.source = given.source AND known.epoch >= given.epoch
        )
    ON CONFLICT (source) DO UPDATE
        SET
            epoch = excluded.epoch,
            since = excluded.since
)

SELECT
    known.source,
    known.epoch
FROM known
