-- orders/find_frontier: read how far the ids of orders go, and which transactions may add to them
-- Params:  none
-- Locks:   none
-- Rows:    last_id bigint, oldest_xid bigint, next_xid bigint; one: the highest id, the oldest
--          transaction that still runs, and the next one
-- Index:   orders_pkey
SELECT
    (SELECT coalesce(max(orders.id), 0) FROM orders) AS last_id,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_xid,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid
