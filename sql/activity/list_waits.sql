-- activity/list_waits: tell which sessions wait for a lock that others hold, and for which
-- Params:  none
-- Locks:   none
-- Rows:    pid integer, application text?, waits_s float8?, waits_for text?, query text?,
--          holders integer[]?; one per session that waits, the longest wait first, 50 at most
-- Index:   none, the server's views are read
SELECT
    waiting.pid,
    waiting.application_name AS application,
    extract(EPOCH FROM clock_timestamp() - min(wanted.waitstart))::double precision AS waits_s,
    min(wanted.mode || ' on ' || coalesce(wanted.relation::regclass::text, wanted.locktype))
        AS waits_for,
    left(waiting.query, 2000) AS query,
    pg_blocking_pids(waiting.pid) AS holders
FROM pg_locks AS wanted
INNER JOIN pg_stat_activity AS waiting ON wanted.pid = waiting.pid
WHERE NOT wanted.granted AND waiting.datname = current_database()
GROUP BY waiting.pid, waiting.application_name, waiting.query
ORDER BY min(wanted.waitstart)
LIMIT 50
