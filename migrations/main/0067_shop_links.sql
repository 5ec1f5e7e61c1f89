-- Links that sign a user in to the shop, once.
-- depends: 0066_traces

CREATE TABLE shop_links (
    digest BYTEA PRIMARY KEY CHECK (length(digest) = 32),
    user_id BIGINT NOT NULL REFERENCES users (id),
    expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Serves shop/purge_links.
CREATE INDEX shop_links_expires_at_idx ON shop_links (expires_at);

COMMENT ON TABLE shop_links IS 'Links that sign a user in to the shop; each is removed by its use';
COMMENT ON COLUMN shop_links.digest IS 'SHA-256 of the secret in the link';
COMMENT ON COLUMN shop_links.user_id IS 'Whom it signs in';
COMMENT ON COLUMN shop_links.expires_at IS 'From then on it signs nobody in';
COMMENT ON COLUMN shop_links.created_at IS 'When it was made';
