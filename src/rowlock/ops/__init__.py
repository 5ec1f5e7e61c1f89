"""What operators run: the command line, checks, data, drills, the embedded PostgreSQL."""
