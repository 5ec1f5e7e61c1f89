-- orders/find_references: tell which references orders have
-- Params:  $1 wanted text[]   unique
-- Locks:   none
-- Rows:    reference text; one per reference that an order has
-- Index:   orders_reference_key
SELECT reference
FROM orders
WHERE reference = any($1::text[])
