-- Indexes for the lists of the catalogue: what can be had, and what is retired.
-- transactional: false
-- depends: 0050_catalogue

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
-- CONCURRENTLY, as in 0022_list_indexes; a build that fails is dropped by the next one.
-- By a number, not by the condition itself: an order looks for products that are not retired by
-- their ids or slugs. A plan made for an empty table could go by the condition, and would later
-- read the whole catalogue for each order.
DROP INDEX CONCURRENTLY IF EXISTS products_is_live_idx;
-- Serves catalogue/list_products, orders/list_products and benefits/list_products.
CREATE INDEX CONCURRENTLY IF NOT EXISTS products_is_live_idx
ON products (((retired_at IS NULL)::int), id);
DROP INDEX CONCURRENTLY IF EXISTS services_is_live_idx;
-- Serves catalogue/list_services and service_orders/list_services.
CREATE INDEX CONCURRENTLY IF NOT EXISTS services_is_live_idx
ON services (((retired_at IS NULL)::int), id);
