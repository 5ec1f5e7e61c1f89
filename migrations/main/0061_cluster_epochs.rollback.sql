DROP FUNCTION declare_epoch();
DROP FUNCTION begin_epoch();
DROP FUNCTION open_epoch(boolean);
DROP FUNCTION describe_epoch();
DROP TABLE cluster_epochs;
