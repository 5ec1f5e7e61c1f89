-- The orders API: retries of the background processing, and lists by status.
-- depends: 0003_invoices

ALTER TABLE orders ADD COLUMN attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0);
ALTER TABLE orders ADD COLUMN next_attempt_at timestamptz;

COMMENT ON COLUMN orders.attempts IS
'How often settling it has failed by its own fault. Waiting for a locked user does not count.';
COMMENT ON COLUMN orders.next_attempt_at IS
'When settling may be tried again; null: at once. Of a pending order only.';

-- No CONCURRENTLY, which no transaction allows: these are made before there are many orders.
-- Serves orders/find_pending and orders/list_pending_orders.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orders_pending_idx ON orders (id) WHERE status = 'pending';
-- Serves orders/list_refused_orders.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orders_refused_idx ON orders (id) WHERE status = 'refused';
