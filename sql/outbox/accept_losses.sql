-- outbox/accept_losses: note that an operator knows which events were lost
-- Params:  none
-- Locks:   the rows changed
-- Rows:    id bigint; one per loss that was not accepted before
-- Index:   none, there should be few
UPDATE outbox_rewinds
SET accepted_at = statement_timestamp()
WHERE NOT complete AND accepted_at IS NULL
RETURNING id
