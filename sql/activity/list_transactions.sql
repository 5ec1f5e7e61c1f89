-- activity/list_transactions: tell which transactions are open for long, and what each does
-- Params:  $1 pids integer[]    those of these sessions in any case
--          $2 older interval    and all that began longer ago
-- Locks:   none
-- Rows:    pid integer, application text?, role text?, client text?, state text?, age_s float8?,
--          query text?; one per session, the oldest first, 50 at most
-- Index:   none, the server's view is read
SELECT
    pid,
    application_name AS application,
    usename::text AS role,
    host(client_addr) AS client,
    state,
    extract(EPOCH FROM clock_timestamp() - xact_start)::double precision AS age_s,
    left(query, 2000) AS query
FROM pg_stat_activity
WHERE
    datname = current_database()
    AND pid <> pg_backend_pid()
    AND (pid = any($1::integer[]) OR xact_start < clock_timestamp() - $2::interval)
ORDER BY xact_start NULLS LAST
LIMIT 50
