-- The orders API: retries of the background processing, and lists by status.
-- depends: 0002_shop

ALTER TABLE orders ADD COLUMN attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0);
ALTER TABLE orders ADD COLUMN next_attempt_at timestamptz;

COMMENT ON COLUMN orders.attempts IS 'How often settling it has failed.';
COMMENT ON COLUMN orders.next_attempt_at IS 'When to try again; null: at once.';

-- Serves orders/find_pending and orders/list_pending_orders.
CREATE INDEX orders_pending_idx ON orders (id) WHERE status = 'pending';
-- Serves orders/list_refused_orders.
CREATE INDEX orders_refused_idx ON orders (id) WHERE status = 'refused';
