DROP TABLE owned_products;
DROP TABLE order_items;
DROP TABLE orders;
DROP TABLE products;
