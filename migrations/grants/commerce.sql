-- All that the commerce service needs in the main database.
--
-- The role is an existing one, a login or a group. The owner of the tables runs this, after each
-- `rowlock migrate up`: new tables and columns have no grants. Running it again changes nothing:
--
--     createuser rowlock_commerce
--     psql -v role=rowlock_commerce -f migrations/grants/commerce.sql "$ROWLOCK_DATABASE_URL"
--
-- Without a checkout: rowlock sql grants commerce | psql -v role=rowlock_commerce "$…_URL". If one
-- role runs several services, it gets the grants of each.
--
-- Any role also has what PUBLIC has, CONNECT and TEMPORARY by default: docs/dba.md revokes that.
--
-- It also covers `rowlock outbox`. Whatever else writes (migrate, seed, projects) or audits
-- (doctor) is the owner's.
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
GRANT SELECT, DELETE ON shop_links TO :"role";

GRANT SELECT, INSERT ON invoices TO :"role";
GRANT UPDATE (status, paid_at, voided_at, reversed_at) ON invoices TO :"role";

GRANT SELECT, INSERT ON transfers TO :"role";

GRANT SELECT, INSERT (name, created_at), UPDATE (name, retired_at) ON services TO :"role";
GRANT SELECT, INSERT, DELETE ON service_orders TO :"role";
GRANT UPDATE (starts_at, fee, imported, version) ON service_orders TO :"role";
GRANT SELECT, UPDATE ON SEQUENCE service_orders_id_seq TO :"role";
GRANT SELECT, INSERT ON gone_service_orders TO :"role";
GRANT SELECT, INSERT, DELETE ON service_order_services TO :"role";

GRANT SELECT, INSERT, DELETE ON idempotency_keys TO :"role";
GRANT UPDATE (digest, normal_digest, status, headers, body, user_id, created_at, noted_at)
ON idempotency_keys TO :"role";
DROP POLICY IF EXISTS :"role" ON idempotency_keys;
CREATE POLICY :"role" ON idempotency_keys AS RESTRICTIVE TO :"role"
USING (
    service = 'commerce'
    OR starts_with(service, 'commerce ')
    -- A role that has the grants of both services sees the answers of both.
    OR (SELECT has_any_column_privilege('deployments', 'INSERT'))
);

GRANT SELECT, INSERT, DELETE ON api_keys TO :"role";
-- To lock a row, as above.
GRANT UPDATE (rate) ON api_keys TO :"role";
DROP POLICY IF EXISTS :"role" ON api_keys;
CREATE POLICY :"role" ON api_keys AS RESTRICTIVE TO :"role"
USING (service = 'commerce' OR (SELECT has_any_column_privilege('deployments', 'INSERT')));
GRANT SELECT, INSERT, DELETE, UPDATE (valid_until) ON api_key_secrets TO :"role";

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

COMMIT;
