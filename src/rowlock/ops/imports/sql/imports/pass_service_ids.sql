-- imports/pass_service_ids: let new services get ids beyond those that are imported
-- Params:  $1 last_id bigint
-- Locks:   none. Others may draw ids meanwhile: none is drawn twice, unless they draw 10000 between
--          the look at the sequence and its move
-- Rows:    last_id bigint; one, none if new ids are beyond it already
-- Index:   none, only the sequence is read
SELECT
    CASE
        WHEN $1 - last_value > 10000 THEN setval('services_id_seq', $1)
        -- So close, a move could take the sequence back to ids that others have just drawn.
        ELSE (
            SELECT max(nextval('services_id_seq'))
            FROM generate_series(CASE WHEN is_called THEN last_value + 1 ELSE last_value END, $1)
        )
    END AS last_id
FROM services_id_seq
WHERE (last_value, is_called) < ($1, true)
