-- events/find_end: tell where the log ends, and in which epoch of the cluster it is
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, last_id bigint, epoch uuid?; one: the newest event, 0 if there are none; the
--          highest id that one can have had; the epoch, null if none was recorded
-- Index:   events_pkey, cluster_epochs_pkey
SELECT
    coalesce((SELECT max(events.id) FROM events), 0) AS id,
    -- The retention may have removed all.
    coalesce(
        (SELECT max(events.id) FROM events),
        (SELECT last_value - (NOT is_called)::integer FROM events_id_seq)
    ) AS last_id,
    (
        SELECT cluster_epochs.identity
        FROM cluster_epochs
        ORDER BY cluster_epochs.number DESC
        LIMIT 1
    ) AS epoch
