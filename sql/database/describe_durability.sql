-- database/describe_durability: what a COMMIT promises here, where a session does not say otherwise
-- Params:  none
-- Locks:   none
-- Rows:    fsync text, full_page_writes text, synchronous_commit text; one
-- Index:   none, no table is read
SELECT
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit
