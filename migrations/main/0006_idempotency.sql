-- Answers kept by Idempotency-Key, so that a request that is sent again takes effect once.
-- depends: 0005_relay

CREATE TABLE idempotency_keys (
    service text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 499),
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, key)
);

-- Serves idempotency/purge_answers.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

COMMENT ON TABLE idempotency_keys IS
'What was answered to requests with an Idempotency-Key, written by the transaction of their '
'effect. Only added, taken over once expired, and purged in the background.';
COMMENT ON COLUMN idempotency_keys.service IS
'The service that was asked: commerce or projects. Each has keys of its own.';
COMMENT ON COLUMN idempotency_keys.key IS
'As the client chose it, without quotes; 1 to 255 characters.';
COMMENT ON COLUMN idempotency_keys.digest IS
'SHA-256 of the request: the same key with another request is refused. The request itself is not '
'kept.';
COMMENT ON COLUMN idempotency_keys.status IS
'The HTTP status answered, 200 to 499: faults are not kept.';
COMMENT ON COLUMN idempotency_keys.headers IS
'The headers answered that belong to the effect, such as Location.';
COMMENT ON COLUMN idempotency_keys.body IS 'The body answered, byte for byte.';
COMMENT ON COLUMN idempotency_keys.created_at IS
'Start of the transaction; the key expires idempotency_keep_s later.';
