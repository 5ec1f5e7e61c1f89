-- API keys of the services on this database, and the secrets that clients send.
-- depends: 0036_balance_comment

CREATE TABLE api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL CHECK (service IN ('commerce', 'projects')),
    name text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$'),
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    rate integer CHECK (rate > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    -- Serves keys/lock_keys, keys/find_keys and keys/create_keys.
    CONSTRAINT api_keys_service_name_key UNIQUE (service, name)
);

COMMENT ON TABLE api_keys IS
'Who may call a service besides the holders of its token, and for what. Deleted when '
'it is revoked.';
COMMENT ON COLUMN api_keys.id IS
'Key, drawn, never again: the name space of its Idempotency-Keys, which outlasts rotations.';
COMMENT ON COLUMN api_keys.service IS 'The only service that takes it.';
COMMENT ON COLUMN api_keys.name IS
'Unique within the service. The actor of its requests is key:NAME.';
COMMENT ON COLUMN api_keys.scopes IS
'What it may do, as docs/scopes.md lists it, such as invoices:write.';
COMMENT ON COLUMN api_keys.rate IS
'Requests a second in each process; null: as for any client.';
COMMENT ON COLUMN api_keys.created_at IS 'Start of the transaction that created it.';
COMMENT ON COLUMN api_keys.created_by IS 'The actor that created it.';
COMMENT ON COLUMN api_keys.expires_at IS 'From when on it is refused; null: never.';

-- Serves keys/list_keys.
CREATE INDEX api_keys_service_id_idx ON api_keys (service, id);

CREATE TABLE api_key_secrets (
    -- Serves keys/find_holders.
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    key_id bigint NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    valid_until timestamptz
);

-- Serves keys/end_secrets, keys/list_keys, keys/find_keys, and the removal of a key's secrets.
CREATE INDEX api_key_secrets_key_id_idx ON api_key_secrets (key_id);

COMMENT ON TABLE api_key_secrets IS
'What proves a key: the present secret, and those that it has replaced but are valid for a while.';
COMMENT ON COLUMN api_key_secrets.hash IS
'SHA-256 of the secret, which itself is stored nowhere. That has 256 random bits, so no salt is '
'needed.';
COMMENT ON COLUMN api_key_secrets.key_id IS 'Whose it is.';
COMMENT ON COLUMN api_key_secrets.valid_until IS
'Until when a replaced secret is valid; null: it is the present one.';

-- As on idempotency_keys: migrations/grants says which keys a service sees and changes.
CREATE POLICY granted ON api_keys USING (TRUE);
COMMENT ON POLICY granted ON api_keys IS
'Who has grants sees the rows, as far as the restrictive policy of the role allows.';
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY granted ON api_key_secrets USING (
    -- Not IN: that would read all keys for one secret.
    EXISTS (
        SELECT FROM api_keys
        WHERE api_keys.id = api_key_secrets.key_id
    )
);
COMMENT ON POLICY granted ON api_key_secrets IS
'Who has grants sees the secrets of the keys that it sees.';
ALTER TABLE api_key_secrets ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN ledger_entries.actor IS
'Who moved the money: token, key:NAME, auth0|SUB, project:ID, anonymous, cli, or system for a '
'background task such as the settlement of orders; null if release 0.1.0 did.';
COMMENT ON COLUMN outbox.actor IS
'Who caused it: token, key:NAME, auth0|SUB, project:ID, anonymous, cli, or system for a background '
'task such as the settlement of orders; null if release 0.1.0 wrote it.';
