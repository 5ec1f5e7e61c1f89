-- probes/write: commit as little as shows whether commits succeed
-- Params:  none
-- Locks:   none
-- Rows:    written boolean, spilled bigint; one; not written on a database that is read-only
-- Index:   none, no table is read
WITH memory AS MATERIALIZED (
    SELECT set_config('work_mem', '64kB', true) AS work_mem
)

SELECT
    -- A WAL record that says nothing: so the commit waits for the disk, and for standbys.
    coalesce(
        CASE
            WHEN current_setting('transaction_read_only') = 'off'
                THEN pg_logical_emit_message(true, 'rowlock', '')
        END > '0/0',
        false
    ) AS written,
    -- More than fits into memory, so it goes to a temporary file, which a full disk refuses.
    count(*) AS spilled
FROM memory
CROSS JOIN LATERAL generate_series(1, 5000 + 0 * length(memory.work_mem))
