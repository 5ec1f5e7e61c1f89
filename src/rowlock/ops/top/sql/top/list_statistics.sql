-- top/list_statistics: read what pg_stat_statements has counted in this database, by query id
-- Params:  none
-- Locks:   none
-- Rows:    query_id bigint?, calls bigint, total_ms float8, rows bigint, blocks_read bigint,
--          blocks_dirtied bigint, wal_bytes numeric; one per query id, one without it for all that
--          other roles have run, if this one is not in pg_read_all_stats
-- Index:   none, the extension's view is read
SELECT
    queryid AS query_id,
    sum(calls)::bigint AS calls,
    sum(total_exec_time) AS total_ms,
    sum(rows)::bigint AS rows,
    sum(shared_blks_read)::bigint AS blocks_read,
    sum(shared_blks_dirtied)::bigint AS blocks_dirtied,
    sum(wal_bytes) AS wal_bytes
FROM pg_stat_statements
WHERE
    dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND toplevel
GROUP BY queryid
