"""The engine: group commit on PostgreSQL, and what every part does with the database. No HTTP."""
