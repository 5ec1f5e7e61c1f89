-- imports/stage_services: make the table for the rows of a file of services, until the session ends
-- Params:  none
-- Locks:   none, the table is this session's alone
-- Rows:    none
-- Index:   none, no table is read
CREATE TEMPORARY TABLE import_services (
    ordinal bigint PRIMARY KEY,
    line bigint NOT NULL,
    id bigint,
    name text NOT NULL
)
