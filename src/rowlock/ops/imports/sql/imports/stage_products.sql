-- imports/stage_products: make the table for the rows of a file of products, until the session ends
-- Params:  none
-- Locks:   none, the table is this session's alone
-- Rows:    none
-- Index:   none, no table is read
CREATE TEMPORARY TABLE import_products (
    ordinal bigint PRIMARY KEY,
    line bigint NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    price bigint NOT NULL
)
