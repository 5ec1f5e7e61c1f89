-- outbox/lock_marks: keep delivered events from being purged until this transaction ends
-- Params:  none
-- Locks:   outbox_marks IN SHARE ROW EXCLUSIVE MODE; outbox/note_mark waits for that
-- Rows:    none
-- Index:   none, no row is read
LOCK TABLE outbox_marks IN SHARE ROW EXCLUSIVE MODE
