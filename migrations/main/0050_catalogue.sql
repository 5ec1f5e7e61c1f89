-- When products and services came and went, and how often a service got another name.
-- depends: 0049_people_indexes

COMMENT ON COLUMN users.balance IS
'Minor units of the installation''s currency, never negative. Changed only by statements that '
'write the ledger entries of the change, too: at all times the sum of the user''s ledger entries.';

-- Without a default for the rows that are there: when those came, nothing tells.
ALTER TABLE products ADD COLUMN created_at timestamptz, ADD COLUMN retired_at timestamptz;
ALTER TABLE products ALTER COLUMN created_at SET DEFAULT statement_timestamp();

COMMENT ON TABLE products IS
'The catalogue, of both shops. Written by the routes below /catalogue, by rowlock seed and by '
'hand. Never deleted from: orders and owners refer to it.';
COMMENT ON COLUMN products.slug IS
'What the benefits API calls the product''s id; 1 to 100 characters, unique. Never changes.';
COMMENT ON COLUMN products.created_at IS
'When it was added; null if that was before migration 0050.';
COMMENT ON COLUMN products.retired_at IS
'Since when it can''t be ordered, and neither shop lists it; null: it can. Release 0.2.0 does not '
'know the column.';

ALTER TABLE services
ADD COLUMN created_at timestamptz,
ADD COLUMN retired_at timestamptz,
ADD COLUMN renames bigint NOT NULL DEFAULT 0;
ALTER TABLE services ALTER COLUMN created_at SET DEFAULT statement_timestamp();

COMMENT ON TABLE services IS
'What can be done at an appointment. Written by the routes below /catalogue, by rowlock seed and '
'by hand. Never deleted from: service orders refer to it.';
COMMENT ON COLUMN services.name IS 'As shown to people.';
COMMENT ON COLUMN services.created_at IS
'When it was added; null if that was before migration 0050.';
COMMENT ON COLUMN services.retired_at IS
'Since when it can''t be booked, except by an order that has it already; null: it can. Release '
'0.2.0 does not know the column.';
COMMENT ON COLUMN services.renames IS
'How often its name has changed: the ETag of an order covers it. Counted by a trigger alone.';

COMMENT ON COLUMN service_orders.version IS
'Rises by one with each change of the order, from 1. With the renames of its services, it is the '
'ETag.';

-- A trigger, so that a change by hand counts, too.
CREATE FUNCTION count_service_renames() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.renames := OLD.renames + 1;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION count_service_renames() IS
'Trigger function: counts how often the name of a service has changed.';

CREATE TRIGGER services_renamed
BEFORE UPDATE ON services
FOR EACH ROW WHEN (old.name IS DISTINCT FROM new.name)
EXECUTE FUNCTION count_service_renames();

COMMENT ON TRIGGER services_renamed ON services IS
'Counts a change of the name, whoever makes it, so that the ETags of its orders change.';
