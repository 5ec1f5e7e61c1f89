COMMENT ON COLUMN events.actor IS
'Who caused it, as the sender says: token, auth0|SUB, project:ID, anonymous, cli, system, or a '
'text of its own, 1 to 300 characters; null if the sender does not say, as release 0.1.0.';
DROP TABLE api_key_secrets;
DROP TABLE api_keys;
