-- Run once, as the server's data directory is made.
CREATE DATABASE rowlock_events;
