-- subscriptions/create: make subscriptions to the events from the log's end on
-- Params:  $1 urls text[]            one per subscription
--          $2 names text[]           same length; the names of one with newlines between
--          $3 subjects text?[]       same length; null: of any subject
--          $4 descriptions text?[]   same length
--          $5 secrets text[]         same length
--          $6 actors text[]          same length, who makes them
--          $7 starts_after bigint    the end of the log
-- Locks:   none new; the caller holds events/lock_log
-- Rows:    id bigint, created_at timestamptz; one per subscription, in this order
-- Index:   none, it only adds
INSERT INTO subscriptions (url, names, subject, description, secret, created_by, starts_after)
SELECT
    given.url,
    string_to_array(given.names, E'\n') AS names,
    given.subject,
    given.description,
    given.secret,
    given.actor,
    $7 AS starts_after
FROM
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    WITH ORDINALITY AS given (url, names, subject, description, secret, actor, place)
ORDER BY given.place
RETURNING id, created_at
