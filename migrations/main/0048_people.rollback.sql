COMMENT ON TABLE outbox IS
'The log of events, each written by the transaction that caused it. Never updated; deleted in the '
'background once delivered.';
COMMENT ON COLUMN idempotency_keys.body IS 'The body answered, byte for byte.';
COMMENT ON COLUMN users.name_key IS
'What the username is compared by, as accounts/names.py derives it; unique. Null if an older user '
'has this key, or until rowlock migrate up has given one to a user of release 0.1.0.';
COMMENT ON COLUMN users.username IS
'What people and the benefits API call the user; 1 to 100 characters, unique. Never changed.';
ALTER TABLE idempotency_keys DROP COLUMN user_id;
ALTER TABLE users DROP COLUMN anonymised_at;
