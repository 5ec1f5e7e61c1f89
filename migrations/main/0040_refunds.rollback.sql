-- The money that was paid back stays with the users, and in the ledger. Cancelled orders keep the
-- rollback from succeeding: release 0.2.0 would take them for orders that were never settled.
DROP TABLE refunds;
DROP FUNCTION refuse_refund_change();
COMMENT ON TABLE owned_products IS
'Which benefits a user has bought. The primary key refuses a second purchase.';
CREATE OR REPLACE TRIGGER orders_settled_for_good
AFTER UPDATE ON orders
FOR EACH ROW
WHEN (
    old.status <> 'pending'
    AND (old.id, old.status, old.amount, old.user_id, old.settled_at)
    IS DISTINCT FROM (new.id, new.status, new.amount, new.user_id, new.settled_at)
)
EXECUTE FUNCTION refuse_settled_change();
COMMENT ON TRIGGER orders_settled_for_good ON orders IS
'Refuses to set a settled order back, or to change its amount, user or time.';
ALTER TABLE orders DROP COLUMN refunded;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (
    status IN ('pending', 'approved', 'refused')
);
ALTER TABLE orders DROP CONSTRAINT orders_statuses_check;
COMMENT ON COLUMN orders.status IS 'pending until it is approved or refused, for good.';
COMMENT ON COLUMN orders.settled_at IS
'When it was approved or refused, as in its ledger entry; null while it is pending.';
