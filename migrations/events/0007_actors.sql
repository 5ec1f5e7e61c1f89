-- Who caused an event.
-- depends: 0006_event_sources

-- Not valid: all rows have null, and to look at every event would hold up the intake.
ALTER TABLE events
ADD COLUMN actor text,
ADD CONSTRAINT events_actor_check CHECK (length(actor) BETWEEN 1 AND 300) NOT VALID;

COMMENT ON COLUMN events.actor IS
'Who caused it, as the sender says: token, auth0|SUB, project:ID, anonymous, cli, system, or a '
'text of its own, 1 to 300 characters; null if the sender does not say, as release 0.1.0.';
