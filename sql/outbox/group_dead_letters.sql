-- outbox/group_dead_letters: group the events that were refused last by the reason
-- Params:  $1 looked_at bigint   how many at most
--          $2 most bigint        groups
-- Locks:   none
-- Rows:    status integer, error text, dead_letters bigint, names bigint, first_at timestamptz,
--          last_at timestamptz; one per reason, the most frequent first
-- Index:   outbox_dead_letters_refused_idx
SELECT
    newest.status,
    newest.error,
    count(*) AS dead_letters,
    count(DISTINCT newest.name) AS names,
    min(newest.refused_at) AS first_at,
    max(newest.refused_at) AS last_at
FROM (
    SELECT
        status,
        error,
        name,
        refused_at
    FROM outbox_dead_letters
    ORDER BY refused_at DESC, event_id DESC
    LIMIT $1
) AS newest
GROUP BY newest.status, newest.error
ORDER BY count(*) DESC, max(newest.refused_at) DESC
LIMIT $2
