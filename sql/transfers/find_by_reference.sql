-- transfers/find_by_reference: read the transfer that has a reference
-- Params:  $1 reference text
-- Locks:   none
-- Rows:    id bigint, from_user_id bigint, to_user_id bigint, amount bigint, label text,
--          reference text?, metadata jsonb?, created_at timestamptz; one, or none
-- Index:   transfers_reference_key
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
WHERE reference = $1
