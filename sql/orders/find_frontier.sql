-- orders/find_frontier: read how far the ids of orders go, which transactions may add to them, and
--     in which epoch of the cluster that is
-- Params:  none
-- Locks:   none
-- Rows:    last_id bigint, oldest_xid bigint, next_xid bigint, epoch uuid?; one: the highest id,
--          the oldest transaction that still runs, the next one, and the epoch, null if none was
--          recorded
-- Index:   orders_pkey, cluster_epochs_pkey
SELECT
    (SELECT coalesce(max(orders.id), 0) FROM orders) AS last_id,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_xid,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
    (
        SELECT cluster_epochs.identity
        FROM cluster_epochs
        ORDER BY cluster_epochs.number DESC
        LIMIT 1
    ) AS epoch
