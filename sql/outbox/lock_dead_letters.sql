-- outbox/lock_dead_letters: keep events from becoming dead letters, and those from being replayed,
--     until this transaction ends
-- Params:  none
-- Locks:   outbox_dead_letters IN SHARE ROW EXCLUSIVE MODE
-- Rows:    none
-- Index:   none, no row is read
LOCK TABLE outbox_dead_letters IN SHARE ROW EXCLUSIVE MODE
