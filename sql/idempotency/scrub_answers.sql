-- idempotency/scrub_answers: put what users are called now into the kept answers that show them
-- Params:  $1 user_ids bigint[]   unique
--          $2 names jsonb[]       same length; fields of the bodies, with their new values
-- Locks:   the keys, in order; the caller has locked the users, so that no other transaction keeps
--          an answer that shows them
-- Rows:    none
-- Index:   idempotency_keys_user_id_idx, idempotency_keys_pkey
WITH showing AS (
    SELECT
        kept.service,
        kept.key,
        scrubbed.names
    FROM unnest($1::bigint[], $2::jsonb[]) AS scrubbed (user_id, names)
    INNER JOIN idempotency_keys AS kept ON scrubbed.user_id = kept.user_id
    CROSS JOIN
        LATERAL (
            VALUES
            (CASE WHEN octet_length(kept.body) > 0 THEN convert_from(kept.body, 'UTF8')::jsonb END)
        ) AS answer (body)
    -- 0.2.0 takes over expired keys, and leaves user_id as it is: then the answer may be another
    -- document, which has the id of its user, but no names.
    WHERE
        answer.body @> jsonb_build_object('user_id', scrubbed.user_id)
        AND answer.body ?& ARRAY['username', 'first_name']
    ORDER BY kept.service, kept.key
    FOR UPDATE OF kept
)

UPDATE idempotency_keys
SET
    body = convert_to(
        (convert_from(idempotency_keys.body, 'UTF8')::jsonb || showing.names)::text, 'UTF8'
    )
FROM showing
WHERE
    idempotency_keys.service = showing.service
    AND idempotency_keys.key = showing.key
