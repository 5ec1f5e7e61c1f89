-- drill/list_transfers: audit after a drill: every transfer
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, from_user_id bigint, to_user_id bigint, amount bigint, reference text?; one
--          per transfer
-- Index:   none, every row is read
SELECT
    id,
    from_user_id,
    to_user_id,
    amount,
    reference
FROM transfers
