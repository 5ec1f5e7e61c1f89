-- When a user was anonymised, and whose names a kept answer shows.
-- depends: 0046_transfers

-- In the order in which requests lock them.
ALTER TABLE users ADD COLUMN anonymised_at timestamptz;
ALTER TABLE idempotency_keys ADD COLUMN user_id bigint;

COMMENT ON COLUMN users.anonymised_at IS
'When names and address were removed on request; null if they were not. Such a user is never named '
'again.';
COMMENT ON COLUMN users.username IS
'What people and the benefits API call the user; 1 to 100 characters, unique. Personal data. '
'Changed once at most, when the user is anonymised: to anonymous- and the id.';
COMMENT ON COLUMN users.name_key IS
'What the username is compared by, as accounts/names.py derives it; unique. Null if an older user '
'has this key, or until rowlock migrate up has given one to a user of release 0.1.0. Personal '
'data.';
COMMENT ON COLUMN idempotency_keys.user_id IS
'The user whose names and address the body shows, so that they can be removed from it; null if it '
'shows none. Not a foreign key: 0.2.0 takes over expired keys, and leaves this column as it is.';
COMMENT ON COLUMN idempotency_keys.body IS
'The body answered, byte for byte, until the user whom it shows is anonymised: then without the '
'names.';
COMMENT ON TABLE outbox IS
'The log of events, each written by the transaction that caused it. Updated only to remove names '
'of a user who is anonymised; deleted in the background once delivered.';
