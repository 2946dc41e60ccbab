"""Copies of the log for other tools, fed from the outbox after the commit; never the truth."""
