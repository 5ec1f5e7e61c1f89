-- seed/has_data: tell whether there is anything but users for load tests
-- Params:  none
-- Locks:   none
-- Rows:    found boolean; one
-- Index:   none, one row of a table is enough
SELECT
    EXISTS (SELECT 1 FROM products)
    OR EXISTS (SELECT 1 FROM services)
    OR EXISTS (SELECT 1 FROM projects)
    OR EXISTS (
        SELECT 1 FROM users
        WHERE username NOT LIKE 'load-%'
    ) AS found
