"""Sinks: what carries the log of events on, to where other systems read it."""
