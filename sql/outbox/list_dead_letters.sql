-- outbox/list_dead_letters: read a page of the events that were refused, the last refusal first
-- Params:  $1 refused_at timestamptz   only those refused before this one
--          $2 event_id uuid            of it
--          $3 status integer?          only those; null: all, as for all that follow
--          $4 error text?
--          $5 name text?
--          $6 since timestamptz?       refused then or later
--          $7 until timestamptz?       refused before
--          $8 page_size bigint
-- Locks:   none
-- Rows:    event_id uuid, name text, subject text, payload jsonb, request_id text?, actor text?,
--          created_at timestamptz, status integer, error text, refused_at timestamptz;
--          page_size at most
-- Index:   outbox_dead_letters_refused_idx
SELECT
    event_id,
    name,
    subject,
    payload,
    request_id,
    actor,
    created_at,
    status,
    error,
    refused_at
FROM outbox_dead_letters
WHERE
    (refused_at, event_id) < ($1, $2)
    AND ($3::integer IS NULL OR status = $3)
    AND ($4::text IS NULL OR error = $4)
    AND ($5::text IS NULL OR name = $5)
    AND ($6::timestamptz IS NULL OR refused_at >= $6)
    AND ($7::timestamptz IS NULL OR refused_at < $7)
ORDER BY refused_at DESC, event_id DESC
LIMIT $8
