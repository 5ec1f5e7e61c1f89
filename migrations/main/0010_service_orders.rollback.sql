DROP TABLE service_order_services;
DROP TABLE service_orders;
DROP TABLE services;
