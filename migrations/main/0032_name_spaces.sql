-- Idempotency-Keys of each caller, and digests that don't depend on how JSON is written.
-- depends: 0031_check_names

ALTER TABLE idempotency_keys ADD COLUMN normal_digest bytea;
ALTER TABLE idempotency_keys ADD COLUMN noted_at timestamptz;

COMMENT ON COLUMN idempotency_keys.service IS
'Whose keys it is among: commerce or projects, for holders of the service''s token; projects and a '
'caller, such as projects auth0|SUB or projects project:ID, for an Auth0 user or the webhooks of a '
'project. Release 0.1.0 keeps all keys of a service under its name.';
COMMENT ON COLUMN idempotency_keys.digest IS
'SHA-256 of the request as it was sent: the same key with another request is refused. The request '
'itself is not kept.';
COMMENT ON COLUMN idempotency_keys.normal_digest IS
'The same, but with sorted names, no blanks and one form of each number in its JSON. Null if '
'release 0.1.0 has kept the key, and in a copy that a newer one made for it: noted_at tells.';
COMMENT ON COLUMN idempotency_keys.noted_at IS
'Equals created_at, or release 0.1.0 has kept the key: then normal_digest says nothing. Equal and '
'no normal_digest: a copy of a caller''s own key under the service''s name, for 0.1.0.';
