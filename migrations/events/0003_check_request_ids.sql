-- What 0002_request_ids has left unchecked.
-- depends: 0002_request_ids

ALTER TABLE events VALIDATE CONSTRAINT events_request_id_check;
