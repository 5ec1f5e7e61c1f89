-- Each ledger entry names its document, once, and a settled document stays as it is.
-- depends: 0023_leases

-- Which of two entries is the wrong one is for a person to decide. Nothing is locked yet.
DO $$
DECLARE
    most CONSTANT integer := 20;
    total bigint;
    listed text;
BEGIN
    WITH entry AS (
        SELECT
            id,
            user_id,
            CASE reason
                WHEN 'opening_balance' THEN 'opening:' || user_id
                ELSE reference
            END AS document,
            CASE reason WHEN 'invoice' THEN 'invoice' ELSE 'order' END AS kind,
            reason = 'opening_balance' AS is_opening
        FROM ledger_entries
    ),

    wrong AS (
        SELECT format(
            '%s moved money of user %s by the entries %s',
            replace(document, ':', ' '), user_id, string_agg(id::text, ', ' ORDER BY id)
        ) AS line
        FROM entry
        GROUP BY document, user_id
        HAVING count(*) > 1
        UNION ALL
        SELECT format('entry %s of user %s names no document, but %L', id, user_id, document)
        FROM entry
        WHERE NOT is_opening AND document !~ ('^' || kind || ':[1-9][0-9]{0,18}$')
    )

    SELECT
        count(*),
        string_agg(line, E'\n' ORDER BY number) FILTER (WHERE number <= most)
    INTO total, listed
    FROM (SELECT line, row_number() OVER (ORDER BY line) AS number FROM wrong) AS numbered;
    IF total > 0 THEN
        RAISE EXCEPTION E'The ledger has % documents that it should not have:\n%', total, listed
            USING ERRCODE = 'integrity_constraint_violation',
            HINT = 'docs/dba.md, "Documents posted twice", says how to correct them. '
                'Then migrate again.';
    END IF;
END
$$;

-- In the order in which requests lock them: documents, then the ledger.
CREATE FUNCTION refuse_settled_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION '% has documents that moved money: TRUNCATE is refused', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RAISE EXCEPTION 'row % of % is settled for good: this % is refused',
        OLD.id, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;

COMMENT ON FUNCTION refuse_settled_change() IS
'Trigger function: raises 23001 (restrict_violation). Keeps settled orders and paid invoices.';

-- AFTER, as a BEFORE trigger would cost each row a lock, even where WHEN does not hold.
CREATE TRIGGER orders_settled_for_good
AFTER UPDATE ON orders
FOR EACH ROW
WHEN (
    old.status <> 'pending'
    AND (old.id, old.status, old.amount, old.user_id, old.settled_at)
    IS DISTINCT FROM (new.id, new.status, new.amount, new.user_id, new.settled_at)
)
EXECUTE FUNCTION refuse_settled_change();
CREATE TRIGGER orders_settled_kept
BEFORE DELETE ON orders
FOR EACH ROW WHEN (old.status <> 'pending') EXECUTE FUNCTION refuse_settled_change();
CREATE TRIGGER orders_not_truncated
BEFORE TRUNCATE ON orders
FOR EACH STATEMENT EXECUTE FUNCTION refuse_settled_change();

COMMENT ON TRIGGER orders_settled_for_good ON orders IS
'Refuses to set a settled order back, or to change its amount, user or time.';
COMMENT ON TRIGGER orders_settled_kept ON orders IS 'Refuses to delete a settled order.';
COMMENT ON TRIGGER orders_not_truncated ON orders IS 'Refuses TRUNCATE.';

CREATE FUNCTION refuse_settled_item_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' OR EXISTS (
        SELECT FROM orders WHERE orders.id = OLD.order_id AND orders.status <> 'pending'
    ) THEN
        RAISE EXCEPTION 'the items of settled orders are kept as they are: this % is refused', TG_OP
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

COMMENT ON FUNCTION refuse_settled_item_change() IS
'Trigger function: raises 23001 (restrict_violation). Keeps the items of settled orders.';

CREATE TRIGGER order_items_settled_for_good
BEFORE UPDATE OR DELETE ON order_items
FOR EACH ROW EXECUTE FUNCTION refuse_settled_item_change();
CREATE TRIGGER order_items_not_truncated
BEFORE TRUNCATE ON order_items
FOR EACH STATEMENT EXECUTE FUNCTION refuse_settled_item_change();

COMMENT ON TRIGGER order_items_settled_for_good ON order_items IS
'Refuses to change or delete an item of a settled order.';
COMMENT ON TRIGGER order_items_not_truncated ON order_items IS 'Refuses TRUNCATE.';

CREATE TRIGGER invoices_paid_for_good
AFTER UPDATE ON invoices
FOR EACH ROW
WHEN (
    old.status <> 'pending'
    AND (old.id, old.status, old.amount, old.user_id, old.paid_at)
    IS DISTINCT FROM (new.id, new.status, new.amount, new.user_id, new.paid_at)
)
EXECUTE FUNCTION refuse_settled_change();
CREATE TRIGGER invoices_paid_kept
BEFORE DELETE ON invoices
FOR EACH ROW WHEN (old.status <> 'pending') EXECUTE FUNCTION refuse_settled_change();
CREATE TRIGGER invoices_not_truncated
BEFORE TRUNCATE ON invoices
FOR EACH STATEMENT EXECUTE FUNCTION refuse_settled_change();

COMMENT ON TRIGGER invoices_paid_for_good ON invoices IS
'Refuses to set a paid invoice back, or to change its amount, user or time.';
COMMENT ON TRIGGER invoices_paid_kept ON invoices IS 'Refuses to delete a paid invoice.';
COMMENT ON TRIGGER invoices_not_truncated ON invoices IS 'Refuses TRUNCATE.';

ALTER TABLE ledger_entries ADD COLUMN document_kind text COLLATE "C";
ALTER TABLE ledger_entries ADD COLUMN document_id bigint;
ALTER TABLE ledger_entries ADD COLUMN contra text COLLATE "C";
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_contra_check CHECK (
    (document_kind, contra) IN (
        ('order', 'sales'), ('invoice', 'payables'), ('opening', 'opening')
    )
) NOT VALID;
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_opening_check CHECK (
    document_kind <> 'opening' OR document_id = user_id
) NOT VALID;
-- Lets the columns become NOT NULL without another look at each row.
ALTER TABLE ledger_entries ADD CONSTRAINT ledger_entries_document_check CHECK (
    document_kind IS NOT NULL AND document_id IS NOT NULL AND contra IS NOT NULL
) NOT VALID;

COMMENT ON COLUMN ledger_entries.document_kind IS
'What moved the money: order, invoice, or the opening of the account. With document_id and '
'user_id unique: one document moves a user''s money once.';
COMMENT ON COLUMN ledger_entries.document_id IS
'The id of the order or invoice, or of the user whose account was opened. Not a foreign key: it '
'points to several tables, whose triggers keep what has moved money.';
COMMENT ON COLUMN ledger_entries.contra IS
'The account on the other side: sales (orders), payables (invoices) or opening.';
COMMENT ON COLUMN ledger_entries.reason IS
'What kind of document moved the money, as the API tells it: benefits are told from other orders.';
COMMENT ON COLUMN ledger_entries.reference IS
'The document as the API shows it, such as invoice:7.';
COMMENT ON COLUMN ledger_entries.created_at IS
'When it was posted: after the account was locked, and never before the account''s last entry.';

-- Times are taken once a row is locked, no longer at the start of the transaction.
COMMENT ON COLUMN orders.created_at IS 'When it was placed.';
COMMENT ON COLUMN orders.settled_at IS
'When it was approved or refused, as in its ledger entry; null while it is pending.';
COMMENT ON COLUMN invoices.created_at IS 'When it was issued.';
COMMENT ON COLUMN invoices.paid_at IS
'When it was paid, as in its ledger entry; null until then.';
COMMENT ON COLUMN projects.created_at IS 'When it was created, or what an import says.';
COMMENT ON COLUMN deployments.created_at IS 'When it was asked for.';
COMMENT ON COLUMN outbox.created_at IS
'When it happened. That of a payment is the time of its ledger entry.';

CREATE FUNCTION name_ledger_document() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.document_kind := CASE NEW.reason
        WHEN 'opening_balance' THEN 'opening'
        WHEN 'invoice' THEN 'invoice'
        ELSE 'order'
    END;
    NEW.document_id := CASE NEW.document_kind
        WHEN 'opening' THEN NEW.user_id
        ELSE substring(
            NEW.reference FROM '^' || NEW.document_kind || ':([1-9][0-9]{0,18})$'
        )::bigint
    END;
    NEW.contra := CASE NEW.document_kind
        WHEN 'opening' THEN 'opening'
        WHEN 'invoice' THEN 'payables'
        ELSE 'sales'
    END;
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := greatest(NEW.created_at, (
            SELECT entry.created_at
            FROM ledger_entries AS entry
            WHERE entry.user_id = NEW.user_id
            ORDER BY entry.id DESC
            LIMIT 1
        ));
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION name_ledger_document() IS
'Trigger function: fills in document_kind, document_id and contra from reason and reference, and '
'keeps created_at from running backwards. For release 0.1.0, which does neither.';

CREATE TRIGGER ledger_entries_name_document
BEFORE INSERT ON ledger_entries
FOR EACH ROW WHEN (new.document_kind IS NULL) EXECUTE FUNCTION name_ledger_document();

COMMENT ON TRIGGER ledger_entries_name_document ON ledger_entries IS
'Names the document of an entry that comes without: release 0.1.0 writes such entries.';

-- Until 0026, one kind of UPDATE is let through: naming the document of an entry, in 0025.
CREATE OR REPLACE TRIGGER ledger_entries_append_only
BEFORE DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER ledger_entries_backfill
BEFORE UPDATE ON ledger_entries
FOR EACH ROW
WHEN (old.document_kind IS NULL AND old IS NOT DISTINCT FROM new)
EXECUTE FUNCTION name_ledger_document();
CREATE TRIGGER ledger_entries_backfill_only
BEFORE UPDATE ON ledger_entries
FOR EACH ROW
WHEN (old.document_kind IS NOT NULL OR (
    old.id, old.user_id, old.amount, old.balance_after,
    old.reason, old.reference, old.created_at
) IS DISTINCT FROM (
    new.id, new.user_id, new.amount, new.balance_after,
    new.reason, new.reference, new.created_at
))
EXECUTE FUNCTION refuse_ledger_change();

COMMENT ON TRIGGER ledger_entries_append_only ON ledger_entries IS
'Refuses DELETE and TRUNCATE to everybody, the owner included.';
COMMENT ON TRIGGER ledger_entries_backfill ON ledger_entries IS
'Names the document of an older entry, when it is updated to what it is.';
COMMENT ON TRIGGER ledger_entries_backfill_only ON ledger_entries IS
'Refuses any other UPDATE, to everybody.';
