-- events/find_sources: tell what this log is called, and what it knows of some sources of events
-- Params:  $1 sources uuid[]
-- Locks:   none new; the caller holds events/lock_log, so the answer stays true
-- Rows:    log text, source uuid?, epoch bigint?, mark text?; one per source that is known, with
--          its highest epoch and its mark; one without a source if none of them is
-- Index:   event_sources_pkey, cluster_epochs_pkey
SELECT
    -- A server that was promoted or restored has another epoch than the one that has taken events.
    concat_ws(
        '/',
        event_log.id,
        (
            SELECT cluster_epochs.identity
            FROM cluster_epochs
            ORDER BY cluster_epochs.number DESC
            LIMIT 1
        )
    ) AS log,
    event_sources.source,
    event_sources.epoch,
    event_sources.mark
FROM event_log
LEFT JOIN event_sources ON event_sources.source = any($1::uuid[])
