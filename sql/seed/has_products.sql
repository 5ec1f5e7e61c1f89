-- seed/has_products: tell whether the database has been seeded, or has a catalogue of its own
-- Params:  none
-- Locks:   none
-- Rows:    seeded boolean; one
-- Index:   none, one row is enough
SELECT exists(SELECT 1 FROM products) AS seeded
