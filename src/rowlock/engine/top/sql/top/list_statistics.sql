-- top/list_statistics: read what pg_stat_statements has counted in this database, by query id
-- Params:  none
-- Locks:   none
-- Rows:    query_id bigint?, calls bigint, total_ms float8, rows bigint, blocks_read bigint,
--          blocks_dirtied bigint, wal_bytes numeric; one per query id, one without it for all that
--          other roles have run, if this one is not in pg_read_all_stats
-- Index:   none, the extension's view is read
SELECT
    counted.queryid AS query_id,
    sum(counted.calls)::bigint AS calls,
    sum(counted.total_exec_time) AS total_ms,
    sum(counted.rows)::bigint AS rows,
    sum(counted.shared_blks_read)::bigint AS blocks_read,
    sum(counted.shared_blks_dirtied)::bigint AS blocks_dirtied,
    sum(counted.wal_bytes) AS wal_bytes
FROM pg_stat_statements AS counted
INNER JOIN pg_database ON counted.dbid = pg_database.oid
WHERE pg_database.datname = current_database() AND counted.toplevel
GROUP BY counted.queryid
