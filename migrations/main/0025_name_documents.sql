-- Names the documents of older ledger entries, and lets each move a user's money once.
-- transactional: false
-- depends: 0024_documents

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- In pages by place on disk, each a transaction. What is killed on the way goes on from there: the
-- next run finds the entries that have no document yet. New ones have theirs.
DO $$
DECLARE
    step CONSTANT bigint := 1000;
    blocks CONSTANT bigint := pg_relation_size('ledger_entries')
        / current_setting('block_size')::bigint;
    first bigint := 0;
BEGIN
    WHILE first <= blocks LOOP
        UPDATE ledger_entries
        SET reason = reason
        WHERE ctid >= format('(%s,0)', first)::tid
            AND ctid < format('(%s,0)', first + step)::tid
            AND document_kind IS NULL;
        COMMIT;
        first := first + step;
    END LOOP;
END
$$;

ALTER TABLE ledger_entries VALIDATE CONSTRAINT ledger_entries_contra_check;
ALTER TABLE ledger_entries VALIDATE CONSTRAINT ledger_entries_opening_check;
ALTER TABLE ledger_entries VALIDATE CONSTRAINT ledger_entries_document_check;

-- CONCURRENTLY, so that money moves meanwhile. A build that fails leaves an index that is not
-- valid: the next one drops it.
DROP INDEX CONCURRENTLY IF EXISTS ledger_entries_document_key;
-- Serves accounts/find_posted, orders/settle_orders, doctor/compare_orders and
-- doctor/compare_invoices.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ledger_entries_document_key
ON ledger_entries (document_kind, document_id, user_id);
