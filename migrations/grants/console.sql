-- All that the console needs in the main database: what commerce and projects have there, but for
-- API keys. In the events database it needs console_events.sql, too.
--
-- How to run it: see commerce.sql.
--
--     psql -v role=rowlock_console -f migrations/grants/console.sql "$ROWLOCK_DATABASE_URL"
\set ON_ERROR_STOP on

BEGIN;

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT ON _yoyo_migration TO :"role";

GRANT SELECT ON cluster_epochs TO :"role";
GRANT EXECUTE ON FUNCTION describe_epoch() TO :"role";
GRANT EXECUTE ON FUNCTION begin_epoch() TO :"role";

-- A row lock needs the right to update some column of the row.
GRANT SELECT ON users TO :"role";
GRANT INSERT (username, name_key, email, email_key, first_name, last_name, created_at)
ON users TO :"role";
GRANT UPDATE (
    username, name_key, email, email_key, first_name, last_name, balance, anonymised_at
) ON users TO :"role";
GRANT SELECT, INSERT ON ledger_entries TO :"role";

GRANT SELECT, INSERT (slug, name, price, created_at) ON products TO :"role";
GRANT UPDATE (name, price, retired_at) ON products TO :"role";
GRANT SELECT, INSERT ON orders TO :"role";
GRANT UPDATE (status, reason, settled_at, attempts, next_attempt_at, refunded) ON orders
TO :"role";
GRANT SELECT, INSERT ON order_items TO :"role";
GRANT SELECT, INSERT, DELETE ON owned_products TO :"role";
GRANT SELECT, INSERT ON refunds TO :"role";

GRANT SELECT, INSERT ON invoices TO :"role";
GRANT UPDATE (status, paid_at, voided_at, reversed_at) ON invoices TO :"role";

GRANT SELECT, INSERT ON transfers TO :"role";

GRANT SELECT, UPDATE (url) ON projects TO :"role";
GRANT SELECT, INSERT (position, project_id, created_at, branch, commit) ON deployments TO :"role";
GRANT UPDATE (status, deployed_in, ended_at, first_live, reason, moved_at)
ON deployments TO :"role";
GRANT SELECT, INSERT, DELETE ON webhook_messages TO :"role";

GRANT SELECT, INSERT (name, created_at), UPDATE (name, retired_at) ON services TO :"role";
GRANT SELECT, INSERT, DELETE ON service_orders TO :"role";
GRANT UPDATE (starts_at, fee, imported, version) ON service_orders TO :"role";
GRANT SELECT, UPDATE ON SEQUENCE service_orders_id_seq TO :"role";
GRANT SELECT, INSERT ON gone_service_orders TO :"role";
GRANT SELECT, INSERT, DELETE ON service_order_services TO :"role";

-- It has no policy of its own there: to anonymise a user, it removes names from the answers that
-- all services have kept.
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO :"role";
GRANT UPDATE (digest, normal_digest, status, headers, body, user_id, created_at, noted_at)
ON idempotency_keys TO :"role";

GRANT SELECT, INSERT, DELETE, UPDATE (payload) ON outbox TO :"role";
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
GRANT SELECT, INSERT, DELETE, UPDATE (accepted_at) ON outbox_rewinds TO :"role";
GRANT SELECT, INSERT, DELETE ON outbox_dead_letters TO :"role";
GRANT UPDATE (payload, status, error, refused_at) ON outbox_dead_letters TO :"role";

GRANT SELECT, INSERT ON leases TO :"role";
GRANT UPDATE (holder, epoch, since, expires) ON leases TO :"role";

GRANT SELECT, DELETE ON jobs TO :"role";
GRANT INSERT (kind, wanted, actor, request_id, total) ON jobs TO :"role";
GRANT UPDATE (done, skipped, total, place, outcome, result, moved_at, finished_at) ON jobs
TO :"role";

COMMIT;
