-- outbox/page_dead: read on in the events that were refused, in the order in which they happened
-- Params:  $1 created_at timestamptz   of the last one read
--          $2 event_id uuid
--          $3 status integer?          only those; null: all, as for all that follow
--          $4 error text?
--          $5 name text?
--          $6 since timestamptz?       refused then or later
--          $7 until timestamptz?       refused before
--          $8 page_size bigint
-- Locks:   none
-- Rows:    created_at timestamptz, event_id uuid; page_size at most, in order
-- Index:   outbox_dead_letters_created_idx
SELECT
    created_at,
    event_id
FROM outbox_dead_letters
WHERE
    (created_at, event_id) > ($1, $2)
    AND ($3::integer IS NULL OR status = $3)
    AND ($4::text IS NULL OR error = $4)
    AND ($5::text IS NULL OR name = $5)
    AND ($6::timestamptz IS NULL OR refused_at >= $6)
    AND ($7::timestamptz IS NULL OR refused_at < $7)
ORDER BY created_at, event_id
LIMIT $8
