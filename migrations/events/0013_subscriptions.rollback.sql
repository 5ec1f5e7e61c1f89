DROP TABLE dispatch_cursor;
DROP TABLE deliveries;
DROP TABLE subscriptions;
