COMMENT ON COLUMN outbox.actor IS
'Who caused it: token, auth0|SUB, project:ID, anonymous, cli, or system for a background task '
'such as the settlement of orders; null if release 0.1.0 wrote it.';
COMMENT ON COLUMN ledger_entries.actor IS
'Who moved the money: token, auth0|SUB, project:ID, anonymous, cli, or system for a background '
'task such as the settlement of orders; null if release 0.1.0 did.';
DROP TABLE api_key_secrets;
DROP TABLE api_keys;
