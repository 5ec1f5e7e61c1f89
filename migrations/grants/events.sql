-- All that the events service needs in the events database.
--
-- How to run it: see commerce.sql.
--
--     psql -v role=rowlock_events -f migrations/grants/events.sql "$ROWLOCK_EVENTS_DATABASE_URL"
--
-- It may not create, alter or drop a table: functions do, as their owner. Partitions need no
-- grants of their own, as they are reached through events.
\set ON_ERROR_STOP on

BEGIN;

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT ON _yoyo_migration TO :"role";

GRANT SELECT ON cluster_epochs TO :"role";
GRANT EXECUTE ON FUNCTION describe_epoch() TO :"role";
GRANT EXECUTE ON FUNCTION begin_epoch() TO :"role";

GRANT SELECT, INSERT ON events TO :"role";
GRANT SELECT ON SEQUENCE events_id_seq TO :"role";
GRANT SELECT, INSERT, DELETE ON event_keys TO :"role";
GRANT SELECT ON event_log TO :"role";
GRANT SELECT, INSERT (source, epoch, mark), UPDATE (epoch, since, mark) ON event_sources
TO :"role";

-- Partitions: made ahead, dropped after the retention, as are strays without one.
GRANT EXECUTE ON FUNCTION exclude_events_month(date) TO :"role";
GRANT EXECUTE ON FUNCTION verify_events_month(date) TO :"role";
GRANT EXECUTE ON FUNCTION admit_events_month(date) TO :"role";
GRANT EXECUTE ON FUNCTION ensure_events_partition(date) TO :"role";
GRANT EXECUTE ON FUNCTION drop_events_partitions(date) TO :"role";
GRANT SELECT (id, created_at), DELETE ON events_default TO :"role";

GRANT SELECT, INSERT, DELETE ON api_keys TO :"role";
-- A row lock needs the right to update some column of the row.
GRANT UPDATE (rate) ON api_keys TO :"role";
GRANT SELECT, INSERT, DELETE, UPDATE (valid_until) ON api_key_secrets TO :"role";

-- Answers kept by Idempotency-Key, and who dispatches.
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO :"role";
GRANT UPDATE (digest, normal_digest, status, headers, body, user_id, created_at, noted_at)
ON idempotency_keys TO :"role";
GRANT SELECT, INSERT ON leases TO :"role";
GRANT UPDATE (holder, epoch, since, expires) ON leases TO :"role";

GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO :"role";
GRANT SELECT, UPDATE (position, version) ON dispatch_cursor TO :"role";
GRANT SELECT, INSERT, DELETE ON consumers TO :"role";
GRANT UPDATE (position, acknowledged_at) ON consumers TO :"role";

COMMIT;
