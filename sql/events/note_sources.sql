-- events/note_sources: note the latest epoch of sources of events, and how far this log has them
-- Params:  $1 sources uuid[]    unique
--          $2 epochs bigint[]   same length
--          $3 marks text?[]     same length; null: the mark stays
-- Locks:   the rows of the sources; the caller holds events/lock_log
-- Rows:    none
-- Index:   event_sources_pkey
INSERT INTO event_sources AS noted (source, epoch, mark)
SELECT
    sender.source,
    sender.epoch,
    sender.mark
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS sender (source, epoch, mark)
ON CONFLICT (source) DO UPDATE
    SET
        epoch = excluded.epoch,
        mark = coalesce(excluded.mark, noted.mark),
        since = CASE WHEN noted.epoch = excluded.epoch THEN noted.since ELSE excluded.since END
