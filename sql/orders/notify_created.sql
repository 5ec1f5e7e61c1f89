-- orders/notify_created: wake the order processors of other processes, once this transaction
--     commits
-- Params:  none
-- Locks:   none
-- Rows:    notified void; one
-- Index:   none, no table is read
SELECT pg_notify('order_created', '') AS notified
