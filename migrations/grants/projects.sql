-- All that the projects service needs in the main database.
--
-- How to run it: see commerce.sql.
--
--     psql -v role=rowlock_projects -f migrations/grants/projects.sql "$ROWLOCK_DATABASE_URL"
--
-- It has no way to create a project or to replace a secret: `rowlock projects` is the owner's.
\set ON_ERROR_STOP on

BEGIN;

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT ON _yoyo_migration TO :"role";

GRANT SELECT ON cluster_epochs TO :"role";
GRANT EXECUTE ON FUNCTION describe_epoch() TO :"role";
GRANT EXECUTE ON FUNCTION begin_epoch() TO :"role";

GRANT SELECT (id, username, email) ON users TO :"role";

-- A row lock needs the right to update some column of the row.
GRANT SELECT, UPDATE (url) ON projects TO :"role";
GRANT SELECT, INSERT (position, project_id, created_at, branch, commit) ON deployments TO :"role";
GRANT UPDATE (status, deployed_in, ended_at, first_live, reason, moved_at)
ON deployments TO :"role";
GRANT SELECT, INSERT, DELETE ON webhook_messages TO :"role";

GRANT SELECT, INSERT, DELETE ON idempotency_keys TO :"role";
GRANT UPDATE (digest, normal_digest, status, headers, body, user_id, created_at, noted_at)
ON idempotency_keys TO :"role";
DROP POLICY IF EXISTS :"role" ON idempotency_keys;
CREATE POLICY :"role" ON idempotency_keys AS RESTRICTIVE TO :"role"
USING (
    service = 'projects'
    OR starts_with(service, 'projects ')
    -- A role that has the grants of both services sees the answers of both.
    OR (SELECT has_any_column_privilege('invoices', 'INSERT'))
);

GRANT SELECT, INSERT, DELETE ON api_keys TO :"role";
-- To lock a row, as above.
GRANT UPDATE (rate) ON api_keys TO :"role";
DROP POLICY IF EXISTS :"role" ON api_keys;
CREATE POLICY :"role" ON api_keys AS RESTRICTIVE TO :"role"
USING (service = 'projects' OR (SELECT has_any_column_privilege('invoices', 'INSERT')));
GRANT SELECT, INSERT, DELETE, UPDATE (valid_until) ON api_key_secrets TO :"role";

GRANT INSERT (name, subject, payload, request_id, actor, traceparent, created_at), SELECT, DELETE
ON outbox TO :"role";
-- Any service that writes events may deliver them.
GRANT SELECT ON outbox_cursor TO :"role";
GRANT UPDATE (
    xid,
    position,
    last_position,
    advanced_at,
    log,
    mark_xid,
    mark_position,
    resend_xid,
    resend_position
) ON outbox_cursor TO :"role";
GRANT SELECT, INSERT, DELETE ON outbox_marks TO :"role";
GRANT SELECT, DELETE ON outbox_rewinds TO :"role";
GRANT INSERT (reason, xid, position, events, kept_since, complete) ON outbox_rewinds TO :"role";
GRANT SELECT, DELETE ON outbox_dead_letters TO :"role";
GRANT INSERT (
    event_id, name, subject, payload, request_id, actor, traceparent, created_at, status, error
) ON outbox_dead_letters TO :"role";
GRANT UPDATE (status, error, refused_at) ON outbox_dead_letters TO :"role";

GRANT SELECT, INSERT ON leases TO :"role";
GRANT UPDATE (holder, epoch, since, expires) ON leases TO :"role";

COMMIT;
