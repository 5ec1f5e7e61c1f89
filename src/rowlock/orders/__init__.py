"""Orders: created at once, settled in the background."""
