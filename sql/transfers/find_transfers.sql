-- transfers/find_transfers: read transfers by id
-- Params:  $1 transfer_ids bigint[]   unique
-- Locks:   none
-- Rows:    id bigint, from_user_id bigint, to_user_id bigint, amount bigint, label text,
--          reference text?, metadata jsonb?, created_at timestamptz; one per transfer found
-- Index:   transfers_pkey
SELECT
    id,
    from_user_id,
    to_user_id,
    amount,
    label,
    reference,
    metadata,
    created_at
FROM transfers
WHERE id = any($1::bigint[])
