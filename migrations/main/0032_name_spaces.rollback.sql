-- Their copies stay: those are what 0.1.0 looks for.
DELETE FROM idempotency_keys
WHERE service LIKE '% %';
ALTER TABLE idempotency_keys DROP COLUMN noted_at;
ALTER TABLE idempotency_keys DROP COLUMN normal_digest;

COMMENT ON COLUMN idempotency_keys.service IS
'The service that was asked: commerce or projects. Each has keys of its own.';
COMMENT ON COLUMN idempotency_keys.digest IS
'SHA-256 of the request: the same key with another request is refused. The request itself is not '
'kept.';
