-- imports/stage_projects: make the table for the rows of a file of projects, until the session ends
-- Params:  none
-- Locks:   none, the table is this session's alone
-- Rows:    none
-- Index:   none, no table is read
CREATE TEMPORARY TABLE import_projects (
    ordinal bigint PRIMARY KEY,
    line bigint NOT NULL,
    id bigint,
    name text NOT NULL,
    url text,
    user_id bigint NOT NULL,
    app_secret text NOT NULL,
    created_at timestamptz
)
