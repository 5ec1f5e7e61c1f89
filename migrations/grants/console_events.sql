-- All that the console needs in the events database.
--
-- How to run it: see commerce.sql.
--
--     psql -v role=rowlock_console -f migrations/grants/console_events.sql \
--         "$ROWLOCK_EVENTS_DATABASE_URL"
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
GRANT SELECT, INSERT ON event_keys TO :"role";
GRANT SELECT ON event_log TO :"role";
GRANT SELECT, INSERT (source, epoch, mark), UPDATE (epoch, since, mark) ON event_sources
TO :"role";

-- Answers kept by the keys of forms.
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO :"role";
GRANT UPDATE (digest, normal_digest, status, headers, body, user_id, created_at, noted_at)
ON idempotency_keys TO :"role";

GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO :"role";
GRANT SELECT, UPDATE (position, version) ON dispatch_cursor TO :"role";
GRANT SELECT, INSERT, DELETE ON consumers TO :"role";
GRANT UPDATE (position, acknowledged_at) ON consumers TO :"role";

GRANT SELECT, DELETE ON jobs TO :"role";
GRANT INSERT (kind, wanted, actor, request_id, total) ON jobs TO :"role";
GRANT UPDATE (done, skipped, total, place, outcome, result, moved_at, finished_at) ON jobs
TO :"role";
GRANT SELECT ON leases TO :"role";

COMMIT;
