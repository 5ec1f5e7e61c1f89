-- Which trace an event belongs to.
-- depends: 0015_consumers

-- No CHECK: the service takes only values of the right form.
ALTER TABLE events ADD COLUMN traceparent text;

COMMENT ON COLUMN events.traceparent IS
'What caused it, as a W3C traceparent, as the sender says; null if the sender does not say.';
