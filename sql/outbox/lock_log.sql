-- outbox/lock_log: keep writers away from the log until this transaction ends
-- Params:  none
-- Locks:   outbox IN SHARE ROW EXCLUSIVE MODE
-- Rows:    none
-- Index:   none, no row is read
LOCK TABLE outbox IN SHARE ROW EXCLUSIVE MODE
