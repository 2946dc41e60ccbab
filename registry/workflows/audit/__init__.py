"""Bulk replays: what is chosen, who does the work, what is found, and the signed summary."""
