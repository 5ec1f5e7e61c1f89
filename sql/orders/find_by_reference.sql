-- orders/find_by_reference: find the order that has a reference
-- Params:  $1 reference text
-- Locks:   none
-- Rows:    id bigint; one, or none
-- Index:   orders_reference_key
SELECT id
FROM orders
WHERE reference = $1
