-- outbox/find_cuts: tell where epochs have begun in the log
-- Params:  none
-- Locks:   none
-- Rows:    first bigint, xid xid8?, position bigint?; one per epoch, the first one aside, in order:
--          the first position that it may give; and the last event before its own, null if that is
--          not kept
-- Index:   outbox_pkey
SELECT
    cut.first,
    previous.xid,
    previous.position
FROM (
    SELECT (cluster_epochs.ids -> 'outbox' -> 'first')::bigint AS first
    FROM cluster_epochs
    WHERE cluster_epochs.ids ? 'outbox'
) AS cut
LEFT JOIN LATERAL (
    SELECT
        outbox.xid,
        outbox.position
    FROM outbox
    WHERE outbox.position >= cut.first
    ORDER BY outbox.xid, outbox.position
    LIMIT 1
) AS own ON own.xid IS NOT NULL
LEFT JOIN LATERAL (
    SELECT
        outbox.xid,
        outbox.position
    FROM outbox
    WHERE (outbox.xid, outbox.position) < (own.xid, own.position)
    ORDER BY outbox.xid DESC, outbox.position DESC
    LIMIT 1
) AS previous ON previous.xid IS NOT NULL
ORDER BY cut.first
